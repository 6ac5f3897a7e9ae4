/**
 * A client of the stream as a state machine (docs/clients.md): inputs and time in, outputs out. It opens no socket, sets no timer,
 * reads no clock; whoever drives it does what the outputs say, and calls it again at `wake`.
 */

import { Channels } from "./channels.js";
import { Requests } from "./requests.js";
import * as rules from "./rules.js";

const CONNECTED = new Set(["joining", "live"]);

export class Machine {
  #channels = new Channels();
  #requests = new Requests();
  #random;
  #hasFallback;
  #state = "stopped";
  #now = 0;
  #out = [];
  #nextId = 1;
  // The credential: what it is, whether another is needed, which call for one is under way.
  #token = null;
  #need = "connect";
  #refused = null;
  #refusals = 0;
  #ask = null;
  #asks = 0;
  #authenticate = null;
  #renewAt = Infinity;
  // The connection.
  #transport = null;
  #opened = true;
  #socketFailures = 0;
  #socketAgainAt = Infinity;
  #socketAgain = rules.SOCKET_AGAIN_MS;
  #isTrying = false;
  #failures = 0;
  #attemptAt = -Infinity;
  #liveSince = Infinity;
  #deadline = Infinity;
  #farewell = null;
  #heard = 0;
  #interval = rules.PING_MS;
  #pongUntil = Infinity;
  // The pause before the next one.
  #until = Infinity;
  #notBefore = -Infinity;
  #rejoinAt = Infinity;
  #rejoins = 0;

  /** `random` gives 0 to 1; `fallback` tells whether there is a way in beside the socket. */
  constructor({ random = Math.random, fallback = false } = {}) {
    this.#random = random;
    this.#hasFallback = fallback;
  }

  get state() {
    return this.#state;
  }

  /** The place in a channel after which its events are still to come, or null. */
  place(channel) {
    return this.#channels.place(channel);
  }

  /** When it wants to be called with `{type: "time"}`, in milliseconds; Infinity: not at all. */
  get wake() {
    const timers = [this.#requests.until];
    if (this.#state === "waiting") timers.push(this.#until);
    else if (this.#state === "connecting") timers.push(this.#deadline);
    else if (CONNECTED.has(this.#state)) {
      timers.push(this.#deadline, this.#idleAt, this.#pongUntil, this.#rejoinAt, this.#renewAt, this.#socketAgainAt);
    }
    return Math.min(...timers);
  }

  /** Take in what has happened; returns what is to be done, in order. `now` is in milliseconds, and goes on in sleep. */
  take(input, now) {
    const wake = this.wake;
    this.#now = Math.max(now, this.#now);
    this.#out = [];
    switch (input.type) {
      case "frame": this.#frame(input.frame); break;
      case "time": this.#time(wake); break;
      case "open": this.#open(); break;
      case "close": this.#close(); break;
      case "credential": this.#credential(input); break;
      case "opened": this.#hasOpened(); break;
      case "closed": this.#closed(input); break;
      case "subscribe": this.#subscribe(input.channels); break;
      case "unsubscribe": this.#unsubscribe(input.channels.filter((name) => this.#channels.unwant(name))); break;
      case "hold": this.#unsubscribe(this.#channels.hold(input.channel) ? [input.channel] : []); break;
      case "resume": this.#channels.resume(input.channel); this.#join(); break;
      case "request": this.#request(input); break;
      case "abandon": this.#requests.abandon(input.key); break;
      case "online": case "visible": case "woken": this.#check(); break;
      case "offline": this.#probe(rules.QUICK_PONG_MS); break;
      case "hidden": break;
      default: throw new TypeError(`no such input: ${input.type}`);
    }
    return this.#out;
  }

  #tell(type, more) {
    this.#out.push({ type, ...more });
  }

  #send(frame) {
    this.#tell("send", { frame });
  }

  #enter(state, more) {
    this.#state = state;
    this.#tell("state", { state, ...more });
  }

  #id = () => this.#nextId++;

  // Opening and closing.

  #open() {
    if (this.#state === "stopped") {
      this.#failures = this.#socketFailures = this.#refusals = 0;
      this.#refused = null;
      this.#notBefore = -Infinity;
      this.#connect();
    } else if (this.#state === "waiting") this.#connect();
  }

  #close() {
    if (this.#state !== "stopped") this.#stop("closed", { credential: false });
    for (const key of this.#requests.clear()) this.#fail(key, "CLOSED", "The client was closed");
    this.#channels.clear();
  }

  #connect() {
    this.#attemptAt = this.#now;
    this.#deadline = Infinity;
    this.#enter("connecting");
    if (this.#need) this.#askCredential(this.#need);
    else this.#openTransport();
  }

  #openTransport() {
    const isBlocked = this.#hasFallback && this.#socketFailures >= rules.SOCKET_FAILURES;
    this.#transport = isBlocked ? "events" : "socket";
    this.#opened = false;
    this.#nextId = 1;
    this.#deadline = this.#now + rules.CONNECT_MS;
    this.#tell("connect", { transport: this.#transport });
  }

  #hasOpened() {
    if (this.#state !== "connecting") return;
    this.#opened = true;
    this.#isTrying = false;
    if (this.#transport === "socket") {
      this.#socketFailures = 0;
      this.#socketAgain = rules.SOCKET_AGAIN_MS;
    } else {
      this.#socketAgainAt = this.#now + this.#socketAgain;
      this.#socketAgain = Math.min(rules.SOCKET_AGAIN_MOST_MS, this.#socketAgain * 2);
    }
    this.#authenticate = this.#id();
    this.#send({ id: this.#authenticate, type: "authenticate", token: this.#token });
  }

  /** One is open, or opening: before that the credential is asked for. */
  get #hasConnection() {
    return this.#state === "connecting" ? this.#deadline !== Infinity : CONNECTED.has(this.#state);
  }

  /** Forget the connection, and what was under way on it. */
  #abandon(isGone) {
    if (this.#hasConnection && !isGone) this.#tell("drop");
    this.#channels.reset();
    this.#opened = true;
    this.#farewell = null;
    this.#liveSince = this.#deadline = this.#pongUntil = this.#rejoinAt = this.#renewAt = this.#socketAgainAt = Infinity;
    this.#rejoins = 0;
    for (const key of this.#requests.lost()) this.#fail(key, "CONNECTION_LOST", "The connection was lost before the answer");
  }

  #stop(why, more, isGone = false) {
    this.#abandon(isGone);
    this.#ask = null;
    this.#enter("stopped", { why, ...more });
  }

  /** Come back later: after the slot that the hub gave, or after a pause that grows. */
  #lost(why, { isGone = false, isBusy = false, slot, retryAfter } = {}) {
    if (this.#now - this.#liveSince >= rules.SETTLED_MS) this.#failures = 0;
    if (!isBusy && this.#hasConnection) this.#countFailure();
    this.#abandon(isGone);
    if (this.#isTrying) {
      this.#isTrying = false;
      return this.#connect();
    }
    const asked = slot ?? retryAfter;
    this.#notBefore = asked === undefined ? -Infinity : this.#now + Math.min(asked, rules.LONGEST_SLOT_MS);
    this.#until = Math.max(this.#notBefore, this.#now);
    if (slot === undefined) this.#until += rules.pause(this.#failures, this.#random());
    this.#failures++;
    this.#enter("waiting", { until: this.#until, why });
  }

  /** Sockets alone may be blocked on the way. Where events do not get live either, nothing says so. */
  #countFailure() {
    if (this.#transport === "events" && this.#liveSince === Infinity) this.#socketFailures = 0;
    else if (!this.#opened) this.#socketFailures++;
  }

  #closed({ code, reason = "", status, retry_after_ms: retryAfter }) {
    if (this.#state !== "connecting" && !CONNECTED.has(this.#state)) return;
    const farewell = this.#farewell;
    const why = reason || farewell?.reason || "connection lost";
    if (code === 4004) this.#need = "expired";
    const isLast = !this.#hasFallback || this.#transport === "events";
    if (status === 401 && isLast) {
      if (this.#state === "connecting") return this.#refusedCredential({ message: why }, true);
      this.#need = "refused";
    }
    if (status === 403 && isLast) return this.#stop(why, { status, credential: false }, true);
    const isBusy = status === 429 || status === 503;
    // It says who it is at once: where the hub did not hear that in time, the network was late.
    const isLate = code === 4500 && this.#state === "connecting";
    if (isLate || comesBack(code, farewell)) return this.#lost(why, { isGone: true, isBusy, slot: farewell?.after_ms, retryAfter });
    this.#stop(why, { code, credential: rules.isOfCredential(code) }, true);
  }

  // The credential.

  #askCredential(why) {
    if (this.#ask !== null) return;
    this.#ask = ++this.#asks;
    this.#tell("credential", { ask: this.#ask, why });
  }

  #credential({ ask, token, error }) {
    if (ask !== this.#ask) return;
    this.#ask = null;
    const isAwaited = this.#state === "connecting" && !this.#hasConnection;
    if (error !== undefined) {
      if (isAwaited) this.#lost(error);
      else if (CONNECTED.has(this.#state)) this.#renewAt = this.#now + rules.RENEW_MS;
      return;
    }
    if (isAwaited && token === this.#refused?.token) return this.#stop(this.#refused.why, { credential: true }, true);
    const isOther = token !== this.#token;
    this.#token = token;
    this.#need = null;
    if (isAwaited) this.#openTransport();
    else if (CONNECTED.has(this.#state) && isOther) this.#send({ id: this.#id(), type: "authenticate", token });
  }

  #refusedCredential({ message }, isGone) {
    this.#refused = { token: this.#token, why: message };
    this.#need = "refused";
    if (++this.#refusals > 1) return this.#stop(message, { credential: true }, isGone);
    this.#abandon(isGone);
    this.#askCredential("refused");
  }

  #expiring() {
    this.#need = "expiring";
    this.#renewAt = Infinity;
    this.#askCredential("expiring");
  }

  // Time.

  #time(wake) {
    for (const key of this.#requests.expired(this.#now)) this.#fail(key, "TIMED_OUT", "No answer came in time");
    const hasSlept = this.#now - wake >= rules.ASLEEP_MS;
    if (CONNECTED.has(this.#state)) this.#connectedTime(hasSlept);
    else if (hasSlept) this.#check();
    else if (this.#state === "waiting") {
      if (this.#now >= this.#until) this.#connect();
    } else if (this.#now >= this.#deadline) this.#lost("no answer");
  }

  /** Whatever is due is done, or put off, also after a sleep: a time that has passed and stays would wake it for ever. */
  #connectedTime(hasSlept) {
    const now = this.#now;
    if (now >= this.#pongUntil) return this.#lost("gone silent");
    if (hasSlept && now >= this.#deadline) this.#deadline = now + rules.JOIN_MS;
    if (now >= this.#deadline) return this.#lost("no answer");
    if (now >= this.#socketAgainAt) return this.#trySocket();
    if (hasSlept) this.#probe(rules.QUICK_PONG_MS);
    else if (now >= this.#idleAt) this.#probe(rules.PONG_MS);
    if (now >= this.#renewAt) this.#expiring();
    if (now >= this.#rejoinAt) {
      this.#rejoinAt = Infinity;
      this.#channels.retry();
      this.#join();
    }
  }

  get #idleAt() {
    return this.#pongUntil === Infinity ? this.#heard + this.#interval : Infinity;
  }

  /** What blocked the socket may be gone. */
  #trySocket() {
    if (!this.#requests.isEmpty) {
      this.#socketAgainAt = this.#now + rules.SPACING_MS;
      return;
    }
    this.#abandon(false);
    this.#socketFailures = rules.SOCKET_FAILURES - 1;
    this.#isTrying = true;
    this.#connect();
  }

  /** The network changed, the page is seen again, or the machine was asleep: find out what still holds. */
  #check() {
    if (this.#state === "waiting") this.#hurry();
    else if (this.#state === "connecting" && this.#hasConnection) {
      if (this.#now - this.#attemptAt < rules.SPACING_MS) return;
      this.#abandon(false);
      this.#connect();
    } else this.#probe(rules.QUICK_PONG_MS);
  }

  /** Connect now, but not before the hub's slot, nor right after the last attempt. */
  #hurry() {
    this.#until = Math.min(this.#until, Math.max(this.#notBefore, this.#attemptAt + rules.SPACING_MS));
    if (this.#now >= this.#until) this.#connect();
  }

  #probe(within) {
    if (!CONNECTED.has(this.#state)) return;
    this.#pongUntil = this.#now + within;
    this.#send({ id: this.#id(), type: "ping" });
  }

  // Frames.

  #frame(frame) {
    if (this.#state !== "connecting" && !CONNECTED.has(this.#state)) return;
    this.#heard = this.#now;
    this.#pongUntil = Infinity;
    if (frame.type === "event") {
      if (this.#channels.isNews(frame)) this.#tell("event", { frame });
      return;
    }
    const request = frame.id === undefined ? undefined : this.#requests.answered(frame.id);
    if (request) return this.#answer(request.key, frame);
    switch (frame.type) {
      case "welcome": return this.#welcome(frame);
      case "subscribed": return this.#subscribed(frame);
      case "unsubscribed": return this.#unsubscribed(frame);
      case "reset": return void (this.#channels.moved(frame) && this.#tell("reset", { frame }));
      case "position": return this.#channels.bookmark(frame);
      case "pong": return void (frame.position && this.#channels.bookmark(frame.position));
      case "error": return this.#error(frame);
      case "token_expiring": return this.#expiring();
      case "disconnect": this.#farewell = frame; return;
      case "result": return;
      // Of a newer hub, or of no interest here: the program may know it.
      default: if (this.#channels.isJoined(frame.channel)) this.#tell("other", { frame });
    }
  }

  #welcome(frame) {
    this.#tell("welcome", { frame });
    if (this.#state !== "connecting") return;
    this.#refusals = 0;
    this.#refused = null;
    this.#interval = frame.ping_interval_ms ?? rules.PING_MS;
    this.#deadline = this.#now + rules.JOIN_MS;
    this.#enter("joining");
    this.#join();
    for (const each of this.#requests.unsent(this.#id)) this.#send(each);
    this.#settle();
  }

  #join() {
    if (!CONNECTED.has(this.#state)) return;
    for (const frame of this.#channels.ask(this.#id)) {
      this.#send(frame);
      if (this.#deadline === Infinity) this.#deadline = this.#now + rules.JOIN_MS;
    }
  }

  #settle() {
    if (!CONNECTED.has(this.#state) || this.#channels.isAnyAsked) return;
    this.#deadline = Infinity;
    if (this.#state === "live") return;
    this.#liveSince = this.#now;
    this.#enter("live");
  }

  #subscribed(frame) {
    const told = frame.channels.map((item) => this.#channels.answered(frame.id, item)).filter(Boolean);
    this.#answeredChannels(told);
  }

  #answeredChannels(told) {
    this.#out.push(...told);
    const isRefused = told.some(({ type, final }) => type === "refused" && !final);
    if (isRefused && this.#rejoinAt === Infinity) {
      this.#rejoinAt = this.#now + rules.SPACING_MS + rules.pause(this.#rejoins++, this.#random());
    } else if (!isRefused && !this.#channels.isAnyLater) this.#rejoins = 0;
    // Who is live, and is answered, has the time of an answer again for what is still asked.
    if (this.#state === "live" && told.length) this.#deadline = this.#now + rules.JOIN_MS;
    this.#settle();
  }

  #unsubscribed({ channels, error }) {
    if (!error) return;
    for (const channel of channels) if (this.#channels.lose(channel)) this.#tell("left", { channel, error });
    this.#settle();
  }

  #error({ id, error }) {
    if (id !== undefined && id === this.#authenticate && this.#state === "connecting") {
      if (rules.passes(error)) this.#lost(error.message);
      else this.#refusedCredential(error, false);
      return;
    }
    const told = id === undefined ? [] : this.#channels.refusedAll(id, error);
    if (told.length) this.#answeredChannels(told);
    else this.#tell("warning", { error });
  }

  // What the program asks.

  #subscribe(items) {
    items.forEach((item) => this.#channels.want(item));
    this.#join();
  }

  #unsubscribe(channels) {
    if (channels.length && CONNECTED.has(this.#state)) this.#send({ type: "unsubscribe", channels });
    this.#settle();
  }

  #request({ key, frame, timeout_ms: timeout }) {
    if (this.#requests.isFull) return this.#fail(key, "BUFFER_FULL", "Too many requests wait for an answer");
    this.#requests.add(key, frame, this.#now + timeout);
    if (CONNECTED.has(this.#state)) for (const each of this.#requests.unsent(this.#id)) this.#send(each);
  }

  #answer(key, frame) {
    if (frame.type === "error") this.#tell("failed", { key, error: frame.error });
    else this.#tell("answer", { key, frame });
  }

  #fail(key, code, message) {
    this.#tell("failed", { key, error: { code, message } });
  }
}

function comesBack(code, farewell) {
  return rules.comesBack(code) && farewell?.reconnect !== false;
}
