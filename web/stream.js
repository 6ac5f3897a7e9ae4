/**
 * The stream of a hub, as docs/protocol.md has it: one socket that comes back by itself and goes on where it was, so that
 * every event is told once. No DOM in here.
 */

const CONNECT_MS = 20_000;
const PONG_MS = 8_000;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;
// A connection that was live for less did not help: the next wait is longer.
const SETTLED_MS = 10_000;
// Below 3000 the standard fixed the meaning, not a range: after these the same attempt would fail again.
const STAY_AWAY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);
// Refusals that pass; any other refusal of a credential means the credential.
const PASSING = new Set(["SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "TIMEOUT", "BAD_GATEWAY", "RATE_LIMIT_EXCEEDED"]);
// What stands where its room is already, and says by itself whether it is news.
const BEGINNINGS = new Set(["run.snapshot", "simulation.snapshot", "twin.telemetry"]);
const CREDENTIAL_CODES = new Set([4501, 4503]);

/** Tell whether a client that saw this close code connects again by itself; holds for codes that it does not know. */
export function comesBack(code) {
  return code < 3000 ? !STAY_AWAY.has(code) : code % 1000 < 500;
}

/** Return how long to wait before the next attempt: longer each time, and never the same for two clients. */
export function backoff(attempt, random = Math.random) {
  const most = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return most / 2 + (random() * most) / 2;
}

/** Compare offsets of one epoch; they are decimal strings that may exceed what a number holds. */
export function isAfter(offset, other) {
  return BigInt(offset) > BigInt(other);
}

/**
 * @typedef {{offset: string, epoch: string}} Place
 * @typedef {{name: "connecting"} | {name: "live"} | {name: "waiting", until: number, why: string}
 *   | {name: "ended", why: string, isCredential: boolean}} State
 * @typedef {object} Listener
 * @property {(state: State) => void} onState
 * @property {(channels: object[]) => void} onSubscribed  what became of each channel: a place, or an `error`
 * @property {(frame: object) => void} onEvent  in order, once each
 * @property {(frame: object) => void} onReset  what is shown may be out of date: read it again
 */
export class Stream {
  #url;
  #key;
  #channels;
  #listener;
  /** @type {Map<string, Place>} the place in each channel after which events are still to come */
  #places = new Map();
  #socket = null;
  #attempt = 0;
  #liveSince = null;
  #farewell = null;
  #returning = null;
  #deadline = null;
  #beat = null;

  /** `since` is a place kept from an earlier page: what happened after it is told again. */
  constructor({ url, key, channels, since = null, listener }) {
    this.#url = url;
    this.#key = key;
    this.#channels = channels;
    this.#listener = listener;
    if (since) for (const channel of channels) this.#places.set(channel, { ...since });
  }

  /** Connect, also when the next attempt is not due yet. Does nothing while a socket is open or opening. */
  open() {
    clearTimeout(this.#returning);
    if (this.#socket) return;
    const socket = (this.#socket = new WebSocket(this.#url, "aimatrix.json"));
    // What an abandoned socket still has to say concerns nobody.
    const ifCurrent = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = ifCurrent(() => this.#send({ id: "key", type: "authenticate", token: this.#key }));
    socket.onmessage = ifCurrent((message) => this.#receive(JSON.parse(message.data)));
    socket.onclose = ifCurrent((event) => this.#closed(event));
    this.#deadline = setTimeout(() => this.#lost("The hub did not answer"), CONNECT_MS);
    this.#listener.onState({ name: "connecting" });
  }

  /** End for good, silently. */
  close() {
    clearTimeout(this.#returning);
    this.#abandon();
  }

  /** Find out now whether the connection still works: the network has changed, or the machine was asleep. */
  check() {
    if (!this.#socket) this.open();
    else if (this.#liveSince !== null) this.#probe();
  }

  /** Be in another channel too, now and after each return. */
  join(channel) {
    this.#channels = [...this.#channels, channel];
    if (this.#liveSince !== null) this.#subscribe([channel]);
  }

  /** Be in it no longer. */
  leave(channel) {
    this.#channels = this.#channels.filter((each) => each !== channel);
    this.#places.delete(channel);
    if (this.#liveSince !== null) this.#send({ type: "unsubscribe", channels: [channel] });
  }

  #subscribe(names) {
    this.#send({ id: "channels", type: "subscribe", channels: names.map((channel) => ({ channel, ...this.#places.get(channel) })) });
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #receive(frame) {
    if (this.#liveSince !== null) clearTimeout(this.#deadline);
    const act = {
      welcome: () => this.#welcome(frame),
      subscribed: () => this.#subscribed(frame),
      event: () => this.#event(frame),
      reset: () => this.#reset(frame),
      position: () => this.#bookmark(frame),
      pong: () => frame.position && this.#bookmark(frame.position),
      error: () => this.#refused(frame),
      disconnect: () => (this.#farewell = frame),
    }[frame.type];
    act?.(); // a type that this page does not know is of a newer hub
  }

  #welcome(frame) {
    this.#subscribe(this.#channels);
    this.#beat = setInterval(() => this.#probe(), frame.ping_interval_ms);
  }

  #subscribed(frame) {
    const passing = frame.channels.find((item) => PASSING.has(item.error?.code));
    if (passing) return this.#lost(passing.error.message);
    for (const { channel, offset, epoch, error } of frame.channels) {
      if (!error && this.#channels.includes(channel)) this.#places.set(channel, { offset, epoch });
    }
    clearTimeout(this.#deadline);
    const isFirst = this.#liveSince === null;
    this.#liveSince ??= Date.now();
    this.#listener.onSubscribed(frame.channels.filter(({ channel }) => this.#channels.includes(channel)));
    if (isFirst) this.#live(frame.channels);
  }

  #live(joined) {
    // What was wanted since the hub was asked.
    const more = this.#channels.filter((name) => joined.every(({ channel }) => channel !== name));
    if (more.length) this.#subscribe(more);
    this.#listener.onState({ name: "live" });
  }

  #event(frame) {
    const place = this.#places.get(frame.channel);
    if (!place) return;
    const isNew = frame.offset !== undefined && isAfter(frame.offset, place.offset);
    if (!isNew && !BEGINNINGS.has(frame.event.type)) return;
    if (isNew) place.offset = frame.offset;
    this.#listener.onEvent(frame);
  }

  #reset(frame) {
    this.#places.set(frame.channel, { offset: frame.offset, epoch: frame.epoch });
    this.#listener.onReset(frame);
  }

  /** A quiet channel's place moves on too, so that coming back is quick. */
  #bookmark({ offset, epoch }) {
    for (const place of this.#places.values()) {
      if (place.epoch === epoch && isAfter(offset, place.offset)) place.offset = offset;
    }
  }

  #refused({ id, error }) {
    if (id !== "key") return this.#lost(error.message);
    if (PASSING.has(error.code)) return this.#lost(error.message);
    this.#end(error.message, true);
  }

  #closed({ code, reason }) {
    const farewell = this.#farewell;
    const why = sentence(reason || farewell?.reason || "the connection was lost");
    if (comesBack(code) && farewell?.reconnect !== false) this.#lost(why, farewell?.after_ms);
    else this.#end(why, CREDENTIAL_CODES.has(code));
  }

  /** Come back later: after `slot` milliseconds where the hub gave one, and then by backoff. */
  #lost(why, slot) {
    if (this.#liveSince !== null && Date.now() - this.#liveSince > SETTLED_MS) this.#attempt = 0;
    this.#abandon();
    const delay = backoff(this.#attempt++) + (slot ?? 0);
    this.#returning = setTimeout(() => this.open(), delay);
    this.#listener.onState({ name: "waiting", until: Date.now() + delay, why });
  }

  #end(why, isCredential) {
    this.#abandon();
    this.#listener.onState({ name: "ended", why, isCredential });
  }

  #abandon() {
    clearTimeout(this.#deadline);
    clearInterval(this.#beat);
    const socket = this.#socket;
    this.#socket = this.#liveSince = this.#farewell = null;
    socket?.close();
  }

  /** A page cannot see WebSocket pings: ask, and take silence for a lost connection. */
  #probe() {
    if (this.#liveSince === null) return;
    this.#send({ type: "ping" });
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#lost("The connection has gone silent"), PONG_MS);
  }
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}
