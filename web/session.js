/** What belongs to one key: the stream, and what it feeds. The next key gets another. */

import { clock } from "./feed.js";
import { Resources } from "./resources.js";
import { isAfter, Stream } from "./stream.js";
import { tab } from "./tab.js";

export const KINDS = ["agents", "knowledge", "twins"];

export class Session {
  #key;
  #feed;
  #base;
  #chat;
  #twin;
  #rest;
  #stream;
  #resources;
  #state = "";
  #hasRead = false;
  #lostAt = null;
  #lastReset = "";
  #onState;

  /** Connects at once; `base`, `chat` and `twin` are the views of one of each kind, `onState` hears each state of the stream. */
  constructor(key, feed, rest, { base, chat, twin }, onState) {
    this.#key = key;
    this.#feed = feed;
    this.#base = base;
    this.#chat = chat;
    this.#twin = twin;
    this.#rest = rest;
    this.#onState = onState;
    const opens = {
      agents: (id, name) => chat.open(id, name, rest, this.#stream),
      knowledge: (id, name) => base.open(id, name, rest),
      twins: (id, name) => twin.open(id, name, rest, this.#stream),
    };
    this.#resources = new Map(
      KINDS.map((kind) => [kind, new Resources(kind, rest, document.getElementById(kind), opens[kind])]),
    );
    const url = `${location.origin.replace("http", "ws")}/v2/stream`;
    this.#stream = new Stream({ url, key, channels: KINDS, since: tab.since, listener: this });
    this.#stream.open();
  }

  onState(state) {
    if (state.name === "waiting" && this.#state === "live") this.#lostAt = new Date();
    if (state.name !== "connecting") this.#state = state.name;
    this.#onState(state);
  }

  onSubscribed(all) {
    tab.keep(this.#key);
    const channels = all.filter(({ channel }) => KINDS.includes(channel));
    const rooms = all.filter(({ channel }) => !KINDS.includes(channel));
    rooms.forEach((each) => this.#live.forEach((view) => view.joined(each)));
    if (!channels.length) return;
    this.#noteReturn(channels);
    const joined = channels.filter(({ error }) => !error);
    if (joined.length && !tab.since) tab.begin(earliest(joined));
    for (const { channel, error } of channels) {
      if (error) this.#resources.get(channel).refuse(error.message);
      else if (!this.#hasRead) this.#resources.get(channel).read();
    }
    if (!this.#hasRead) this.#live.forEach((view) => view.reopen(this.#rest, this.#stream));
    this.#hasRead = true;
  }

  onEvent(frame) {
    if (!KINDS.includes(frame.channel)) return this.#live.forEach((view) => view.apply(frame));
    const resources = this.#resources.get(frame.channel);
    this.#feed.event(frame, resources.nameOf(frame.event));
    resources.apply(frame.event);
    this.#base.apply(frame.event);
    this.#live.forEach((view) => view.happened(frame.event));
  }

  onReset(frame) {
    const { channel, offset, epoch, reason } = frame;
    if (!KINDS.includes(channel)) return this.#live.forEach((view) => view.reset(frame));
    this.#resources.get(channel).read();
    this.#base.readAgain();
    this.#twin.readAgain();
    const reset = `${epoch} ${offset}`; // every channel hears of the same one
    if (reset === this.#lastReset) return;
    this.#lastReset = reset;
    tab.begin({ offset, epoch });
    const cause = reason === "epoch" ? "the log has begun anew" : "the log ends before what was shown here";
    this.#feed.note(`${clock(new Date())}: ${cause}. Some events may be missing here; the resources were read again.`, "warning");
  }

  /** The network has changed, or the page is seen again: find out whether the connection still works. */
  check() {
    this.#stream.check();
  }

  /** Connect now, not later. */
  open() {
    this.#stream.open();
  }

  /** End, silently. */
  close() {
    this.#stream.close();
    this.#base.close();
    this.#live.forEach((view) => view.close());
    this.#resources.forEach((resources) => resources.close());
  }

  /** The views that are in rooms of their own; each hears of all, and minds its own. */
  get #live() {
    return [this.#chat, this.#twin];
  }

  #noteReturn(channels) {
    if (this.#lostAt === null) return;
    const missed = channels.every(({ recovered, error }) => recovered || error) ? " Nothing was missed." : "";
    this.#feed.note(`Not connected from ${clock(this.#lostAt)} to ${clock(new Date())}.${missed}`, "calm");
    this.#lostAt = null;
  }
}

function earliest(places) {
  const { offset, epoch } = places.reduce((a, b) => (isAfter(a.offset, b.offset) ? b : a));
  return { offset, epoch };
}
