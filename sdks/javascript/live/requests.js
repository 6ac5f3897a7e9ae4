/** What was asked and is not answered yet. No I/O; time is given. */

import { MOST_REQUESTS } from "./rules.js";

/** @typedef {{key: any, frame: object, until: number, id: number | null}} Request  `id` while the hub has it */
export class Requests {
  /** @type {Map<any, Request>} in the order in which they were asked */
  #all = new Map();
  #byId = new Map();

  get isEmpty() {
    return this.#all.size === 0;
  }

  get isFull() {
    return this.#all.size >= MOST_REQUESTS;
  }

  /** When the first of them has waited long enough. */
  get until() {
    let first = Infinity;
    for (const { until } of this.#all.values()) if (until < first) first = until;
    return first;
  }

  add(key, frame, until) {
    this.#all.set(key, { key, frame, until, id: null });
  }

  /** Return the frames that are still to be sent; `nextId` gives the id of each. */
  unsent(nextId) {
    const frames = [];
    for (const request of this.#all.values()) {
      if (request.id !== null) continue;
      request.id = nextId();
      this.#byId.set(request.id, request);
      frames.push({ ...request.frame, id: request.id });
    }
    return frames;
  }

  /** Return the request that a frame answers, which is then done; or nothing. */
  answered(id) {
    const request = this.#byId.get(id);
    if (request) this.abandon(request.key);
    return request;
  }

  abandon(key) {
    this.#byId.delete(this.#all.get(key)?.id);
    this.#all.delete(key);
  }

  /** Return the keys of those that have waited long enough; they are done. */
  expired(now) {
    return this.#done((request) => request.until <= now);
  }

  /** The connection is gone: return the keys of those that may have happened, which are done. The others are sent again. */
  lost() {
    const keys = this.#done((request) => request.id !== null && !mayRepeat(request.frame));
    for (const request of this.#all.values()) request.id = null;
    this.#byId.clear();
    return keys;
  }

  /** Return the keys of all; they are done. */
  clear() {
    return this.#done(() => true);
  }

  #done(isDone) {
    const keys = [...this.#all.values()].filter(isDone).map(({ key }) => key);
    keys.forEach((key) => this.abandon(key));
    return keys;
  }
}

/** Tell whether a frame that was sent already may be sent again, and does nothing twice. */
function mayRepeat({ type, data, idempotency_key: once }) {
  return type === "history" || (type === "presence" && data === undefined) || once !== undefined;
}
