/** One reader of a channel: by callbacks, or by a loop, which holds the hub up where it is behind. */

/** Where the reader is behind so much, its channel is held, and goes on once so few wait. */
export const MOST_WAITING = 1024;
const FEW_WAITING = MOST_WAITING / 4;

export class LiveError extends Error {
  constructor({ code, message, ...more }) {
    super(message);
    Object.assign(this, more, { name: "LiveError", code });
  }
}

export class Subscription {
  #live;
  #heard;
  /** @type {[object, object | null][]} frames with the channel's place after them, oldest first */
  #waiting = [];
  #place = null;
  #wanting = null;
  #isHeld = false;
  #isEnded = false;
  #error = null;
  #answer;

  constructor(live, channel, heard) {
    this.#live = live;
    this.#heard = heard;
    this.channel = channel;
    this.ready = new Promise((resolve, reject) => (this.#answer = { resolve, reject }));
    this.ready.catch(() => {}); // who does not ask is told by the callbacks
  }

  get place() {
    return this.#waiting.length ? this.#place : (this.#live.placeOf(this.channel) ?? this.#place);
  }

  close() {
    this.#leave(null);
  }

  #leave(error) {
    if (this.#isEnded) return;
    this.#place = this.place;
    if (this.#isHeld) this.#live.hold(this.channel, (this.#isHeld = false));
    this.#live.leave(this);
    this.end(error);
  }

  [Symbol.asyncIterator]() {
    return { next: () => this.#next(), return: async () => (this.close(), { done: true, value: undefined }) };
  }

  async #next() {
    if (this.#waiting.length) return { done: false, value: this.#shift() };
    if (this.#error) throw this.#error;
    if (this.#isEnded) return { done: true, value: undefined };
    return new Promise((resolve, reject) => (this.#wanting = { resolve, reject }));
  }

  #shift() {
    const [frame, place] = this.#waiting.shift();
    this.#place = place;
    if (this.#isHeld && this.#waiting.length <= FEW_WAITING) this.#live.hold(this.channel, (this.#isHeld = false));
    return frame;
  }

  // What the client calls.

  joined(item) {
    this.#place ??= this.#live.placeOf(this.channel);
    this.#answer.resolve(item);
    this.#heard.onJoined?.(item);
  }

  refused(error, final) {
    this.#heard.onRefused?.(error, final, this.channel);
    if (final) this.end(new LiveError(error));
  }

  left(error) {
    this.#heard.onLeft?.(error, this.channel);
    this.end(new LiveError(error));
  }

  /** Take a frame of the channel. */
  take(frame) {
    const { onEvent, onReset, onFrame } = this.#heard;
    const told = frame.type === "event" ? onEvent : frame.type === "reset" ? onReset : onFrame;
    if (told) told(frame);
    else if (!onEvent) this.#keep(frame);
  }

  /** The client does not come back by itself: a loop would wait for ever. */
  stopped(error) {
    if (!this.#heard.onEvent) this.#leave(error);
  }

  #keep(frame) {
    this.#waiting.push([frame, this.#live.placeOf(this.channel)]);
    if (this.#wanting) {
      const { resolve } = this.#wanting;
      this.#wanting = null;
      resolve({ done: false, value: this.#shift() });
    } else if (!this.#isHeld && this.#waiting.length >= MOST_WAITING) this.#live.hold(this.channel, (this.#isHeld = true));
  }

  /** Nothing comes any more; `error` says why. */
  end(error) {
    this.#isEnded = true;
    this.#isHeld = false; // the client has forgotten that it was behind, with the channel
    this.#error = error;
    if (error) this.#answer.reject(error);
    else this.#waiting = [];
    const wanting = this.#wanting;
    this.#wanting = null;
    if (error) wanting?.reject(error);
    else wanting?.resolve({ done: true, value: undefined });
  }
}
