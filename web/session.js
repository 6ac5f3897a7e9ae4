/** What belongs to one key: the connection, and what it feeds. The next key gets another. */

import { clock } from "./feed.js";
import { isAfter, Live } from "./live/index.js";
import { Resources } from "./resources.js";
import { tab } from "./tab.js";

export const KINDS = ["agents", "knowledge", "twins"];

export class Session {
  #key;
  #feed;
  #base;
  #chat;
  #twin;
  #room;
  #rest;
  #live;
  /** @type {Map<string, Subscription>} the rooms that the views are in, by channel */
  #rooms = new Map();
  #resources;
  /** What the hub has answered for the kinds, and is not shown yet. */
  #answers = [];
  #read = new Set();
  #hasBegun = false;
  #isLost = false;
  #lostAt = null;
  #lastReset = "";
  #onState;

  /** Connects at once; `base`, `chat`, `twin` and `room` are the views of one of each kind, `onState` hears each state of the connection. */
  constructor(key, feed, rest, { base, chat, twin, room }, onState) {
    this.#key = key;
    this.#feed = feed;
    this.#base = base;
    this.#chat = chat;
    this.#twin = twin;
    this.#room = room;
    this.#rest = rest;
    this.#onState = onState;
    const opens = {
      agents: (id, name) => chat.open(id, name, rest, this),
      knowledge: (id, name) => base.open(id, name, rest),
      twins: (id, name) => twin.open(id, name, rest, this),
    };
    this.#resources = new Map(
      KINDS.map((kind) => [kind, new Resources(kind, rest, document.getElementById(kind), opens[kind])]),
    );
    this.#live = new Live({ apiKey: key, onState: (state) => this.#changed(state) });
    this.#live.subscribeAll(KINDS, {
      ...tab.since,
      onEvent: (frame) => this.#event(frame),
      onReset: (frame) => this.#reset(frame),
      onJoined: (item) => this.#answered(item),
      onRefused: (error, isFinal, channel) => this.#answered({ channel, error }),
    });
    room.begin(this.#live);
    this.#live.open();
  }

  /** Connect now, not later. */
  open() {
    this.#live.open();
  }

  /** End, silently. */
  close() {
    this.#onState = () => {};
    this.#room.end();
    this.#live.close();
    this.#base.close();
    this.#views.forEach((view) => view.close());
    this.#resources.forEach((resources) => resources.close());
  }

  /** Be in a room too, now and after each return; the views hear of it. */
  join(channel) {
    if (this.#rooms.has(channel)) return;
    const tell = (what) => (told) => this.#views.forEach((view) => view[what](told));
    const room = this.#live.subscribe(channel, {
      onEvent: tell("apply"),
      onReset: tell("reset"),
      onJoined: tell("joined"),
      onRefused: (error, isFinal) => {
        if (isFinal) this.#rooms.delete(channel);
        tell("joined")({ channel, error });
      },
      onLeft: (error) => {
        this.#rooms.delete(channel);
        tell("joined")({ channel, error });
      },
    });
    this.#rooms.set(channel, room);
  }

  /** Be in it no longer. */
  leave(channel) {
    this.#rooms.get(channel)?.close();
    this.#rooms.delete(channel);
  }

  #changed({ state, why = "", in_ms: wait = 0, credential = false }) {
    if (state === "live") this.#settle();
    if (state === "live") this.#isLost = false;
    else if (state === "waiting" && this.#hasBegun && !this.#isLost) {
      this.#isLost = true;
      this.#lostAt = new Date();
    }
    const names = { joining: "connecting", stopped: "ended" };
    const told = { name: names[state] ?? state, why: sentence(why), until: Date.now() + wait, isCredential: credential };
    this.#onState(told);
  }

  #answered(answer) {
    this.#answers.push(answer);
    if (this.#live.state === "live") this.#settle();
  }

  /** Show what became of the kinds, together. */
  #settle() {
    const channels = this.#answers.splice(0);
    if (!channels.length) return;
    tab.keep(this.#key);
    this.#noteReturn(channels);
    const joined = channels.filter(({ error }) => !error);
    if (joined.length && !tab.since) tab.begin(earliest(joined));
    for (const { channel, error } of channels) {
      if (error) this.#resources.get(channel).refuse(error.message);
      else if (!this.#read.has(channel)) this.#resources.get(channel).read();
      if (!error) this.#read.add(channel);
    }
    if (!this.#hasBegun) this.#views.forEach((view) => view.reopen(this.#rest, this));
    this.#hasBegun = true;
  }

  #event(frame) {
    const resources = this.#resources.get(frame.channel);
    this.#feed.event(frame, resources.nameOf(frame.event));
    resources.apply(frame.event);
    this.#base.apply(frame.event);
    this.#views.forEach((view) => view.happened(frame.event));
  }

  #reset({ channel, offset, epoch, reason }) {
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

  /** The views that are in rooms of their own; each hears of all, and minds its own. */
  get #views() {
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

function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
