/** The channels that are wanted: how often, where each is, and how it stands on this connection. No I/O, no time. */

import { isAfter, isBeginning, MOST_CHANNELS_A_FRAME, passes } from "./rules.js";

/**
 * How a channel stands: `idle` not asked for, `asked`, `joined`, `later` refused for now, `held` its reader is behind.
 *
 * @typedef {{offset: string, epoch: string}} Place
 * @typedef {{name: string, count: number, item: object, place: Place | null, status: string, ask: number, before: Place | null}} Channel
 *   `before` is the place that was asked for and not honoured, until the `reset` that says so has come
 */
export class Channels {
  /** @type {Map<string, Channel>} */
  #all = new Map();

  /** Return the place after which a channel's events are still to come. */
  place(name) {
    const { place, before } = this.#all.get(name) ?? {};
    return place ? { ...(before ?? place) } : null;
  }

  get isAnyAsked() {
    return this.#some("asked");
  }

  get isAnyLater() {
    return this.#some("later");
  }

  #some(status) {
    for (const channel of this.#all.values()) if (channel.status === status) return true;
    return false;
  }

  /** Want a channel once more. */
  want(item) {
    const { channel: name, offset, epoch, ...more } = typeof item === "string" ? { channel: item } : item;
    const known = this.#all.get(name);
    if (known) known.count++;
    else {
      const place = offset === undefined ? null : { offset: String(offset), epoch };
      this.#all.set(name, { name, count: 1, item: more, place, status: "idle", ask: 0, before: null });
    }
  }

  /** Want it once less; tell whether the hub must hear of it. */
  unwant(name) {
    const channel = this.#all.get(name);
    if (!channel || --channel.count) return false;
    this.#all.delete(name);
    return channel.status === "asked" || channel.status === "joined";
  }

  /** Want no more of it for now; tell whether the hub must hear of it. */
  hold(name) {
    const channel = this.#all.get(name);
    if (!channel || channel.status === "held") return false;
    const isThere = channel.status === "asked" || channel.status === "joined";
    channel.status = "held";
    return isThere;
  }

  resume(name) {
    const channel = this.#all.get(name);
    if (channel?.status === "held") channel.status = "idle";
  }

  /** The connection is gone, and with it what was joined. */
  reset() {
    for (const channel of this.#all.values()) if (channel.status !== "held") channel.status = "idle";
  }

  /** Forget all of them. */
  clear() {
    this.#all.clear();
  }

  /** Let channels that were refused for now be asked for again. */
  retry() {
    for (const channel of this.#all.values()) if (channel.status === "later") channel.status = "idle";
  }

  /** Return the items of what is to be asked for, a list for each frame; `nextId` gives the id of each. */
  ask(nextId) {
    const idle = [...this.#all.values()].filter(({ status }) => status === "idle");
    const frames = [];
    for (let at = 0; at < idle.length; at += MOST_CHANNELS_A_FRAME) {
      const some = idle.slice(at, at + MOST_CHANNELS_A_FRAME);
      const id = nextId();
      for (const channel of some) Object.assign(channel, { status: "asked", ask: id });
      frames.push({ id, type: "subscribe", channels: some.map(itemOf) });
    }
    return frames;
  }

  /** Take in what became of one channel of a frame; returns what is told of it, or nothing. */
  answered(id, item) {
    const channel = this.#all.get(item.channel);
    if (!channel || channel.status !== "asked" || channel.ask !== id) return null;
    if (item.error) return this.#refused(channel, item.error);
    channel.status = "joined";
    const asked = channel.before ?? channel.place;
    if (item.offset !== undefined) this.#put(channel, item.offset, item.epoch);
    // The next connection asks for it again, if this one ends before the reset.
    if (asked && item.recovered === false) channel.before = asked;
    return { type: "joined", item };
  }

  /** A whole frame was refused: so is each channel of it. */
  refusedAll(id, error) {
    const asked = [...this.#all.values()].filter((channel) => channel.status === "asked" && channel.ask === id);
    return asked.map((channel) => this.#refused(channel, error));
  }

  #refused(channel, error) {
    const final = !passes(error);
    if (final) this.#all.delete(channel.name);
    else channel.status = "later";
    return { type: "refused", channel: channel.name, error, final };
  }

  /** The hub took a channel away; tell whether it was there. */
  lose(name) {
    return this.#all.delete(name);
  }

  /** Tell whether frames of this channel are wanted now. */
  isJoined(name) {
    return this.#all.get(name)?.status === "joined";
  }

  /** Tell whether an event is news, and move its channel's place behind it. */
  isNews({ channel: name, offset, epoch, delivery, event }) {
    const channel = this.#all.get(name);
    if (channel?.status !== "joined") return false;
    // An event of a durable subscription comes again until it is answered.
    if (offset === undefined || delivery !== undefined) return true;
    const { place } = channel;
    const isSameLife = place !== null && (epoch === undefined || epoch === place.epoch);
    if (isSameLife && !isAfter(offset, place.offset)) return isBeginning(event.type);
    channel.before = null;
    if (isSameLife) place.offset = offset;
    else this.#put(channel, offset, epoch);
    return true;
  }

  /** Take the place at which a channel goes on; tell whether it is wanted. */
  moved({ channel: name, offset, epoch }) {
    if (!this.isJoined(name)) return false;
    this.#put(this.#all.get(name), offset, epoch);
    return true;
  }

  /** A quiet channel's place moves on too, so that coming back is quick. */
  bookmark({ offset, epoch }) {
    for (const { status, place } of this.#all.values()) {
      if (status === "joined" && place?.epoch === epoch && isAfter(offset, place.offset)) place.offset = offset;
    }
  }

  #put(channel, offset, epoch) {
    channel.place = { offset, epoch };
    channel.before = null;
    // Where it began is told once; from now on it goes on from its place.
    delete channel.item.since;
    delete channel.item.after_event;
  }
}

function itemOf({ name, item, place, before }) {
  return { channel: name, ...item, ...(before ?? place) };
}
