/** Who is in a channel, kept up to date as docs/presence.md says under "Versions". */

import { isAfter } from "./rules.js";

const PAGE = 500;

export class Members {
  #live;
  #channel;
  #onChange;
  #subscription;
  /** @type {Map<string, object>} by subject */
  #all = new Map();
  /** Where they are: `{version, epoch}`; null before they were read. */
  #at = null;
  /** Frames that came while they were being read. */
  #kept = [];
  #isReading = false;
  #turn = 0;
  #isClosed = false;

  /** Subscribes to the channel; `options` are those of `Live.subscribe`, `onChange(members)` hears of each change. */
  constructor(live, channel, onChange, { onEvent = () => {}, onFrame, onJoined, ...options } = {}) {
    this.#live = live;
    this.#channel = channel;
    this.#onChange = onChange;
    this.#subscription = live.subscribe(channel, {
      ...options,
      presence: true,
      onEvent,
      onFrame: (frame) => (frame.type === "presence" ? this.#take(frame) : onFrame?.(frame)),
      // What happened between two connections nobody tells.
      onJoined: (answer) => {
        this.#read();
        onJoined?.(answer);
      },
    });
  }

  /** Those who are there, in the order of their subjects. */
  get all() {
    return [...this.#all.values()].sort((a, b) => (a.subject < b.subject ? -1 : 1));
  }

  /** Leave the channel. */
  close() {
    this.#isClosed = true;
    this.#subscription.close();
  }

  #take(frame) {
    if (this.#isReading) return void this.#kept.push(frame);
    if (this.#apply(frame)) this.#onChange(this.all);
  }

  /** Take a frame in; tells whether something has changed. What does not go on from here is read again. */
  #apply({ version, after, epoch, joined = [], left = [], updated = [] }) {
    if (this.#at && after === this.#at.version) {
      for (const member of [...joined, ...updated]) this.#all.set(member.subject, member);
      for (const { subject } of left) this.#all.delete(subject);
      this.#at = { version, epoch };
      return true;
    }
    const isKnown = this.#at?.epoch === epoch && !isAfter(version, this.#at.version);
    if (!isKnown) this.#read();
    return false;
  }

  async #read() {
    if (this.#isClosed) return;
    const turn = ++this.#turn;
    this.#isReading = true;
    this.#kept = [];
    const read = await this.#pages().catch(() => null);
    // It was asked for once more meanwhile, or nobody wants it any more.
    if (turn !== this.#turn || this.#isClosed) return;
    this.#isReading = false;
    // Without a list the next frame, or the next connection, has it read again.
    this.#at = read?.at ?? null;
    if (!read) return;
    this.#all = new Map(read.members.map((member) => [member.subject, member]));
    for (const frame of this.#kept.splice(0)) if (!this.#isReading) this.#apply(frame);
    if (!this.#isReading) this.#onChange(this.all);
  }

  async #pages() {
    const members = [];
    let at = null;
    let after = null;
    do {
      const page = await this.#live.presence(this.#channel, { limit: PAGE, ...(after !== null && { after }) });
      at ??= { version: page.version, epoch: page.epoch };
      members.push(...page.members);
      after = page.next ?? null;
    } while (after !== null);
    return { members, at };
  }
}
