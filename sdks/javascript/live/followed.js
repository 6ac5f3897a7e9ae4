/**
 * The channels of a stream of server-sent events, and the cursor from which it goes on in all of them. No I/O. Wire form: docs/sse.md; what
 * happens is said by the vectors in sdks/vectors/events.
 */

import { isAfter, passes } from "./rules.js";

const OF_LOG = /^(agents|knowledge|events|twins(?!:.*\/telemetry$))(:|$)/;
export const NEEDS_SOCKET = { code: "SERVICE_UNAVAILABLE", message: "This needs a socket" };
const OF_SOCKETS = ["since", "after_event", "speed", "max_gap_ms", "max_in_flight"];
// A request's line has room for 8 KiB.
const MOST_CHARACTERS = 7000;

export class Followed {
  /**
   * By channel: `item` its options, `id` of the subscribe that is not answered yet, `place` until a cursor has come, `kept` its states by
   * subject, where it has deltas.
   */
  #all = new Map();
  #cursor = "";

  get isEmpty() {
    return !this.#all.size;
  }

  /** Take a subscribe frame; returns what is answered at once. */
  add({ id, channels }) {
    const refused = [];
    for (const { channel, offset, epoch, ...item } of channels) {
      if (this.#isPossible(channel, item)) this.#all.set(channel, { item, id, place: offset ? { offset, epoch } : null, kept: new Map() });
      else refused.push({ channel, error: NEEDS_SOCKET });
    }
    return refused.length ? [{ type: "subscribed", id, channels: refused }] : [];
  }

  remove(channel) {
    this.#all.delete(channel);
  }

  /** What a request says of the channels: names and values. */
  get query() {
    return [...this.#all].map(([channel, { item }]) => this.#asked(channel, item));
  }

  /** Where to go on; empty: from the present. A channel that came later may be the one that is least far. */
  get cursor() {
    let [first, ...rooms] = this.#cursor.split("~");
    for (const [channel, { place }] of this.#all) {
      if (place && OF_LOG.test(channel) && (!first || isBefore(place, first))) first = `${place.offset}.${place.epoch ?? ""}`;
    }
    return [first, ...rooms].join("~");
  }

  /** Take a frame that came, and the cursor after it; returns what it is for the machine. */
  take(frame, cursor) {
    const told = this.#taken(frame);
    if (cursor) {
      this.#cursor = cursor;
      for (const each of this.#all.values()) if (each.id === null) each.place = null;
    }
    return told;
  }

  /** None of the channels can be had. */
  refuse(error) {
    return [...this.#all.keys()].flatMap((channel) => this.#joined({ channel, error }));
  }

  #alike(channel) {
    const kind = channel.split(":")[0];
    return [...this.#all.keys()].filter((other) => other !== channel && other.split(":")[0] === kind);
  }

  #isPossible(channel, item) {
    if (channel.startsWith("subscriptions:") || OF_SOCKETS.some((name) => name in item)) return false;
    const alike = OF_LOG.test(channel) ? this.#alike(channel) : [];
    // Their events would come twice.
    if (alike.length && [channel, ...alike].some((name) => name.endsWith("*"))) return false;
    const others = [...this.#all].filter(([name]) => name !== channel).map(([name, { item: its }]) => this.#asked(name, its));
    const length = ([name, value]) => name.length + encodeURIComponent(value).length + 2;
    return [...others, this.#asked(channel, item)].reduce((sum, pair) => sum + length(pair), 0) <= MOST_CHARACTERS;
  }

  #asked(channel, { delta, ...item }) {
    // A whole kind with deltas stands alone among its resources: beside them its states come whole.
    if (delta !== undefined && (channel.includes(":") || !this.#alike(channel).length)) item.delta = delta;
    return Object.keys(item).length ? ["subscribe", JSON.stringify({ channel, ...item })] : ["channel", channel];
  }

  #taken(frame) {
    const { type, channel, channels } = frame;
    if (type === "welcome") return [{ type: "comment" }];
    if (type === "subscribed") return channels.flatMap((item) => this.#joined(item));
    if (type === "unsubscribed") channels.forEach((name) => this.remove(name));
    const known = this.#all.get(channel);
    if (type === "reset") known?.kept.clear();
    if (type !== "event" || !known) return [frame];
    // An answer that was given up may still bring some of a channel that is asked for again.
    if (known.id !== null) return [];
    return [known.item.delta ? whole(frame, known.kept) : frame];
  }

  #joined(item) {
    const { channel, offset, epoch, error, recovered } = item;
    const known = this.#all.get(channel);
    if (!known) return [];
    const { id, place } = known;
    const answer = (more) => ({ type: "subscribed", id, channels: [{ ...item, ...more }] });
    known.id = null;
    known.kept.clear();
    if (error) {
      this.remove(channel);
      if (id) return [answer()];
      // It was there. What passes ends the stream, and is asked for again.
      return passes(error) ? [] : [{ type: "unsubscribed", channels: [channel], error }];
    }
    if (!id) return item.presence ? [presence(item)] : [];
    if (!place) return [answer()];
    const isSameLife = place.epoch === epoch;
    if (OF_LOG.test(channel) && (isSameLife || !recovered)) {
      // The cursor was that of the channel that is least far: others get again what they have.
      return [answer(recovered && isAfter(place.offset, offset) ? { offset: place.offset } : {})];
    }
    // Of a room the cursor may have said nothing: then nothing is missing where it is still at its place.
    if (isSameLife && place.offset === offset) return [answer({ recovered: true })];
    return [answer({ recovered: false }), { type: "reset", channel, offset, epoch, reason: isSameLife ? "history" : "epoch" }];
  }
}

/** Of two lives one is over: where it is the channel's, that is reset. */
function isBefore({ offset, epoch }, cursor) {
  const [at, ...life] = cursor.split(".");
  return life.join(".") !== epoch || isAfter(at.replace("k", ""), offset);
}

/** A frame that goes on from nothing: who was at another version reads the list again (docs/presence.md, "Versions"). */
function presence({ channel, presence: place }) {
  return { type: "presence", channel, after: "", ...place, joined: [], left: [], updated: [] };
}

/** Make the state whole of an event that says what changed: what it changes may have come before where the machine was already. */
function whole({ patch, ...frame }, kept) {
  const { subject, type, data } = frame.event;
  const state = patch ? patched(kept.get(subject), patch) : data;
  const isState = /\.(created|updated)$/.test(type);
  if (isState && !frame.left && !state.truncated) kept.set(subject, state);
  else if (isState || type.endsWith(".deleted")) kept.delete(subject);
  return patch ? { ...frame, event: { ...frame.event, data: state } } : frame;
}

/** Apply a JSON Patch (RFC 6902) of `add`, `remove` and `replace`. */
function patched(value, patch) {
  const root = structuredClone({ value });
  for (const { op, path, value: given } of patch) {
    // RFC 6901, section 4: first ~1, then ~0.
    const keys = ["value", ...path.split("/").slice(1).map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"))];
    const last = keys.pop();
    const at = keys.reduce((found, key) => found[key], root);
    if (!Array.isArray(at)) op === "remove" ? delete at[last] : (at[last] = given);
    else if (op === "replace") at[last] = given;
    else at.splice(last === "-" ? at.length : last, Number(op === "remove"), ...(op === "add" ? [given] : []));
  }
  return root.value;
}
