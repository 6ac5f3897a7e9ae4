/**
 * The live part of the SDK: channels of a hub as they happen, over one connection that comes back by itself. What it decides stands in
 * machine.js; here are connections, the timer, the program's callbacks. types.d.ts says what is public, and what it promises.
 */

import { Machine } from "./machine.js";
import { openSocket } from "./socket.js";
import { LiveError, Subscription } from "./subscription.js";

export { LiveError, Subscription };
export { comesBack, isAfter, pause } from "./rules.js";

const ANSWER_MS = 30_000;
const CREDENTIAL_MS = 30_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Live {
  #options;
  #machine;
  /** @type {Map<string, Set<Subscription>>} by channel */
  #readers = new Map();
  /** @type {Map<string, number>} how many readers of a channel are behind */
  #behind = new Map();
  #requests = new Map();
  #lastKey = 0;
  #connection = null;
  #inputs = [];
  #isTaking = false;
  #timer;
  #armed = Infinity;
  #now = 0;
  #wall = Date.now();
  #listening = null;

  welcome = null;

  constructor({ url = globalThis.location?.origin, apiKey, credential = () => apiKey, fallback = true, ...options } = {}) {
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch } = options;
    if (!WebSocket) throw new TypeError("This platform has no WebSocket: give one, such as that of the package ws");
    this.#options = { ...options, url: new URL(url), credential, WebSocket, fetch: (...all) => fetch(...all) };
    this.#machine = new Machine({ random: options.random, fallback });
  }

  get state() {
    return this.#machine.state;
  }

  open() {
    this.#listen();
    this.#take({ type: "open" });
    return this;
  }

  close() {
    for (const reader of this.#all()) reader.close();
    this.#take({ type: "close" });
    this.#listening?.abort();
    this.#listening = null;
  }

  subscribe(channel, options) {
    return this.subscribeAll([channel], options)[0];
  }

  subscribeAll(channels, { onEvent, onReset, onJoined, onRefused, onLeft, onFrame, ...item } = {}) {
    const heard = { onEvent, onReset, onJoined, onRefused, onLeft, onFrame };
    const readers = channels.map((channel) => new Subscription(this, channel, heard));
    for (const reader of readers) {
      const all = this.#readers.get(reader.channel) ?? new Set();
      this.#readers.set(reader.channel, all.add(reader));
    }
    this.#take({ type: "subscribe", channels: channels.map((channel) => ({ channel, ...item })) });
    return readers;
  }

  publish(channel, data, { ephemeral, ...options } = {}) {
    return this.request({ type: "publish", channel, data, ...(ephemeral && { ephemeral }) }, options);
  }

  history(channel, asked, options) {
    return this.request({ type: "history", channel, ...asked }, options);
  }

  presence(channel, asked, options) {
    return this.request({ type: "presence", channel, ...asked }, options);
  }

  call(operation, input = {}, { idempotencyKey, ...options } = {}) {
    return this.request({ type: "call", operation, input, ...(idempotencyKey && { idempotency_key: idempotencyKey }) }, options);
  }

  request(frame, { timeoutMs = ANSWER_MS, signal } = {}) {
    signal?.throwIfAborted();
    const key = ++this.#lastKey;
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#take({ type: "abandon", key });
        this.#done(key)?.reject(signal.reason);
      };
      signal?.addEventListener("abort", stop);
      this.#requests.set(key, { resolve, reject, forget: () => signal?.removeEventListener("abort", stop) });
      this.#take({ type: "request", key, frame, timeout_ms: timeoutMs });
    });
  }

  #done(key) {
    const request = this.#requests.get(key);
    this.#requests.delete(key);
    request?.forget();
    return request;
  }

  check() {
    this.#take({ type: "woken" });
  }

  // What subscriptions call.

  placeOf(channel) {
    return this.#machine.place(channel);
  }

  leave(reader) {
    const { channel } = reader;
    const all = this.#readers.get(channel);
    if (!all?.delete(reader)) return;
    if (!all.size) this.#readers.delete(channel);
    this.#take({ type: "unsubscribe", channels: [channel] });
    if (!all.size) this.#behind.delete(channel);
  }

  /** A reader is behind, or has caught up; the channel goes on once none is. */
  hold(channel, isBehind) {
    if (channel.startsWith("subscriptions:")) return;
    const count = (this.#behind.get(channel) ?? 0) + (isBehind ? 1 : -1);
    this.#behind.set(channel, count);
    if (count === (isBehind ? 1 : 0)) this.#take({ type: isBehind ? "hold" : "resume", channel });
  }

  // The machine.

  /** Milliseconds that never fall, and go on while the machine sleeps. */
  #time() {
    const wall = Date.now();
    this.#now += Math.max(0, wall - this.#wall);
    this.#wall = wall;
    return this.#now;
  }

  /** Give an input to the machine, after those that came before: what it says may bring others. */
  #take(input) {
    this.#inputs.push(input);
    if (this.#isTaking) return;
    this.#isTaking = true;
    try {
      while (this.#inputs.length) {
        const next = this.#inputs.shift();
        for (const output of this.#machine.take(next, this.#time())) safely(() => this.#act(output));
        // An event moves no timer nearer.
        if (next.frame?.type !== "event") this.#arm();
      }
    } finally {
      this.#isTaking = false;
    }
  }

  #arm() {
    const { wake } = this.#machine;
    if (wake === this.#armed) return;
    clearTimeout(this.#timer);
    this.#armed = wake;
    if (wake === Infinity) return;
    this.#timer = setTimeout(() => {
      this.#armed = Infinity;
      this.#take({ type: "time" });
    }, Math.min(LONGEST_TIMER_MS, Math.max(0, wake - this.#now)));
  }

  #act(output) {
    const { type, frame, channel, key } = output;
    switch (type) {
      case "event": case "reset": case "other": return this.#tell(frame.channel, (reader) => reader.take(frame));
      case "send": return this.#connection.send(frame);
      case "connect": return this.#connect(output.transport);
      case "drop": return void (this.#connection = this.#connection?.drop());
      case "credential": return this.#ask(output);
      case "state": return this.#state(output);
      case "welcome": this.welcome = frame; return;
      case "joined": return this.#tell(output.item.channel, (reader) => reader.joined(output.item));
      case "refused": return this.#lose(output, (reader) => reader.refused(output.error, output.final), output.final);
      case "left": return this.#lose(output, (reader) => reader.left(output.error), true);
      case "answer": return this.#done(key)?.resolve(frame.result ?? frame);
      case "failed": return this.#done(key)?.reject(new LiveError(output.error));
      case "warning": return this.#options.onWarning?.(output.error);
    }
  }

  #all() {
    return [...this.#readers.values()].flatMap((readers) => [...readers]);
  }

  #tell(channel, tell) {
    for (const reader of this.#readers.get(channel) ?? []) safely(() => tell(reader));
  }

  #lose({ channel }, tell, isLost) {
    const readers = [...(this.#readers.get(channel) ?? [])];
    if (isLost) {
      this.#readers.delete(channel);
      this.#behind.delete(channel);
    }
    for (const reader of readers) safely(() => tell(reader));
  }

  #state(output) {
    if (output.state === "stopped") this.#stopped(output.why);
    this.#options.onState?.(output.until === undefined ? output : { ...output, in_ms: output.until - this.#now });
  }

  /** It does not come back by itself: what waits would wait for ever. */
  #stopped(why) {
    const error = new LiveError({ code: why === "closed" ? "CLOSED" : "STOPPED", message: why });
    for (const reader of this.#all()) reader.stopped(error);
    for (const key of [...this.#requests.keys()]) {
      this.#take({ type: "abandon", key });
      this.#done(key).reject(error);
    }
  }

  #connect(transport) {
    const { url, WebSocket, fetch } = this.#options;
    let connection = null;
    // What a former connection still has to say concerns nobody.
    const ifCurrent = (input) => this.#connection === connection && this.#take(input);
    const on = {
      opened: () => ifCurrent({ type: "opened" }),
      frame: (frame) => ifCurrent({ type: "frame", frame }),
      closed: (end) => ifCurrent({ type: "closed", ...end }),
    };
    const stream = new URL("/v2/stream", url);
    stream.protocol = url.protocol.replace("http", "ws");
    connection = transport === "socket" ? openSocket(stream, WebSocket, on) : openEvents(url, fetch, on);
    this.#connection = connection;
  }

  /** Ask the program for a credential; one that does not come in time is none. */
  async #ask({ ask, why }) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no credential in time")), CREDENTIAL_MS);
    });
    try {
      const token = await Promise.race([this.#options.credential(why), late]);
      if (typeof token !== "string") throw new Error("no credential");
      this.#take({ type: "credential", ask, token });
    } catch (failure) {
      this.#take({ type: "credential", ask, error: String(failure?.message ?? failure) });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Hear what a browser says of the network, and of the page. */
  #listen() {
    if (this.#listening || !globalThis.addEventListener) return;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    for (const type of ["online", "offline"]) addEventListener(type, () => this.#take({ type }), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.check(), { signal });
    const page = globalThis.document;
    page?.addEventListener("visibilitychange", () => this.#take({ type: page.hidden ? "hidden" : "visible" }), { signal });
  }
}

/** Open server-sent events, whose code is fetched only where no socket comes through. */
function openEvents(url, fetch, on) {
  let connection = null;
  let isDropped = false;
  import("./events.js").then(
    ({ EventsConnection }) => isDropped || (connection = new EventsConnection(url, fetch, on)),
    () => isDropped || on.closed({ code: 1006 }),
  );
  return {
    send: (frame) => connection.send(frame),
    drop() {
      isDropped = true;
      connection?.drop();
    },
  };
}

/** Call the program; what it throws is its own, and ends nothing here. */
function safely(call) {
  try {
    call();
  } catch (failure) {
    queueMicrotask(() => {
      throw failure;
    });
  }
}
