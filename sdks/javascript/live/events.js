/**
 * Server-sent events, and requests beside them, as a connection of the client, for networks that let no socket through (docs/sse.md). What is
 * subscribed stands in the URL, so another channel means another answer; the last event's id goes on where the former ended.
 */

import { Followed, NEEDS_SOCKET } from "./followed.js";
import { parsed } from "./socket.js";

// Channels that are subscribed one after the other share an answer.
const GATHER_MS = 20;
// The hub says something every 25 s.
const SILENT_MS = 40_000;
// A proxy that holds the first bytes back lets go of so many.
const HELD_BACK_MS = 5_000;
const PADDING = 4096;
// A poll said nothing of its channel: the hub was stopping, or out of reach.
const NO_PLACE = { code: "SERVICE_UNAVAILABLE", message: "Where it begins is not known for now" };
// Statuses that speak of channels, where none of them can be had.
const OF_CHANNELS = [403, 404, 422];

export class EventsConnection {
  #url;
  #fetch;
  #on;
  #end = new AbortController();
  #reading = null;
  #code = 1006;
  #token = "";
  #channels = new Followed();
  /** Channels of which it is being found out where they begin, with the id of their subscribe. */
  #beginning = new Map();
  #gathering = null;
  #padding = "";

  /** As `openSocket`; `url` is the hub's, by HTTP. */
  constructor(url, fetch, on) {
    this.#url = url;
    this.#fetch = fetch;
    this.#on = on;
    this.#begin();
  }

  /** Whether HTTP comes through at all. */
  async #begin() {
    try {
      const answer = await this.#send("readyz");
      if (answer.ok) this.#on.opened();
      else await this.#ended(answer);
    } catch {
      this.#on.closed({ code: 1006 });
    }
  }

  drop() {
    clearTimeout(this.#gathering);
    this.#end.abort();
    this.#on = { opened() {}, frame() {}, closed() {} };
  }

  send(frame) {
    const { type, channels } = frame;
    if (type === "authenticate") this.#authenticate(frame);
    else if (type === "ping") this.#again(() => {}); // a new answer is a sign of life
    else if (type === "subscribe") this.#subscribe(frame);
    else if (type === "unsubscribe") this.#again(() => channels.forEach((name) => this.#remove(name)));
    else this.#request(frame);
  }

  /** Have the credential looked at: there is no answer yet that would begin with `welcome`. */
  async #authenticate({ id, token }) {
    this.#token = token;
    try {
      const answer = await this.#send("v2/stream/events?channel=agents", { method: "HEAD" });
      const error = { code: "INVALID_TOKEN", message: "The credential was refused" };
      if (answer.status === 401) return this.#on.frame({ type: "error", id, error });
      if (!answer.ok && !OF_CHANNELS.includes(answer.status)) return await this.#ended(answer);
    } catch {
      return this.#on.closed({ code: 1006 });
    }
    this.#on.frame({ type: "welcome", id, ping_interval_ms: SILENT_MS, is_fallback: true });
    this.#again(() => {});
  }

  #tell(frame) {
    queueMicrotask(() => this.#on.frame(frame));
  }

  #subscribe({ id, channels }) {
    this.#add(id, channels.filter((item) => !begins(item)));
    for (const item of channels.filter(begins)) this.#place(id, item);
  }

  #add(id, channels) {
    this.#again(() => this.#channels.add({ id, channels }).forEach((each) => this.#tell(each)));
  }

  #remove(channel) {
    this.#beginning.delete(channel);
    this.#channels.remove(channel);
  }

  /** Find out where a channel begins that has no place yet, by a poll of it alone: a stream of several has one cursor. */
  async #place(id, { since, after_event, ...item }) {
    const { channel } = item;
    this.#beginning.set(channel, id);
    const query = new URLSearchParams({ subscribe: JSON.stringify({ channel, since, after_event }), wait: 0 });
    const answer = await this.#body(`v2/stream/poll?${query}`);
    // Nobody wants it any more, or it is asked for again.
    if (this.#beginning.get(channel) !== id) return;
    this.#beginning.delete(channel);
    const found = answer?.frames?.find(({ type }) => type === "subscribed")?.channels[0];
    const { offset, epoch, error } = found ?? { error: answer?.error ?? NO_PLACE };
    if (error) this.#tell({ type: "subscribed", id, channels: [{ channel, error }] });
    else this.#add(id, [{ ...item, offset, epoch }]);
  }

  #again(change) {
    change();
    this.#readIn(GATHER_MS);
  }

  #readIn(ms) {
    clearTimeout(this.#gathering);
    this.#gathering = setTimeout(() => this.#read(), ms);
  }

  #pad() {
    this.#padding = `&padding=${PADDING}`;
    this.#read();
  }

  async #read() {
    this.#reading?.abort();
    if (this.#channels.isEmpty) return this.#tell({ type: "comment" }); // what was asked is answered
    const { signal } = (this.#reading = new AbortController());
    const heldBack = this.#padding ? undefined : setTimeout(() => signal.aborted || this.#pad(), HELD_BACK_MS);
    try {
      const answer = await this.#fetchStream(AbortSignal.any([signal, this.#end.signal]));
      if (!answer.ok) return await this.#refused(answer);
      await this.#take(answer.body.pipeThrough(new TextDecoderStream()).getReader(), () => clearTimeout(heldBack));
    } catch {
      // It ended; how does not matter.
    } finally {
      clearTimeout(heldBack);
    }
    if (!signal.aborted) this.#on.closed({ code: this.#code });
  }

  #fetchStream(signal) {
    const { query, cursor } = this.#channels;
    const headers = { Accept: "text/event-stream", ...(cursor && { "Last-Event-ID": cursor }) };
    return this.#send(`v2/stream/events?${new URLSearchParams(query)}${this.#padding}`, { headers, signal });
  }

  /** None of the channels can be had, or the stream itself cannot. */
  async #refused(answer) {
    if (!OF_CHANNELS.includes(answer.status)) return this.#ended(answer);
    const { error } = await answer.json();
    // A hub of before that door.
    if (error.code === "RESOURCE_NOT_FOUND") return this.#on.closed({ code: 1006, status: answer.status });
    this.#hand(this.#channels.refuse(error));
  }

  /** Read messages (HTML Living Standard, section 9.2.6), as the hub writes them: one line of data each. */
  async #take(reader, heard) {
    let rest = "";
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      heard();
      const messages = (rest + piece.value).split("\n\n");
      rest = messages.pop();
      messages.forEach((message) => this.#message(message));
    }
  }

  #message(message) {
    let frame = { type: "comment" }; // anything is a sign of life
    let cursor = "";
    for (const line of message.split("\n")) {
      if (line.startsWith("id: ")) cursor = line.slice(4);
      else if (line.startsWith("data: ")) frame = parsed(line.slice(6)) ?? frame;
    }
    if (frame.type === "disconnect") this.#code = frame.code;
    this.#hand(this.#channels.take(frame, cursor));
  }

  #hand(frames) {
    for (const frame of frames) this.#on.frame(frame);
  }

  // Requests.

  async #request({ type, id, channel, data, offset, ...more }) {
    const path = `v2/channels/${encodeURIComponent(channel ?? "")}/${type}`;
    const query = new URLSearchParams({ ...more, ...(offset && { after: offset }) });
    const isWrite = type === "publish";
    if (!isWrite && type !== "history" && !(type === "presence" && data === undefined)) {
      return this.#tell({ type: "error", id, error: NEEDS_SOCKET });
    }
    const options = isWrite
      ? { method: "POST", body: JSON.stringify({ data }), headers: { "Content-Type": "application/json" } }
      : {};
    const body = await this.#body(isWrite ? path : `${path}?${query}`, options);
    if (body?.error) this.#on.frame({ type: "error", id, error: body.error });
    else if (body) this.#on.frame({ type: "result", id, result: body });
  }

  async #body(path, options) {
    try {
      return await (await this.#send(path, options)).json();
    } catch {
      return null; // its time runs out
    }
  }

  #send(path, { headers, signal = this.#end.signal, ...options } = {}) {
    const own = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    return this.#fetch(new URL(path, this.#url), { ...options, signal, headers: { ...own, ...headers } });
  }

  async #ended(answer) {
    const seconds = Number(answer.headers.get("Retry-After"));
    const { error } = (await answer.json().catch(() => null)) ?? {};
    this.#on.closed({ code: 1006, status: answer.status, reason: error?.message, ...(seconds && { retry_after_ms: seconds * 1000 }) });
  }
}

function begins(item) {
  return ("since" in item || "after_event" in item) && !("offset" in item || "speed" in item);
}
