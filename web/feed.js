/** The lines of what happens, newest first: events, and notes about the connection. */

import { element, oncePerFrame } from "./dom.js";

const MOST_LINES = 300;
// Older events are told again after a reload; they do not light up.
const NEW_MS = 4_000;

/** Return a time of day as the reader's clock shows it. */
export function clock(time) {
  return time.toLocaleTimeString([], { hourCycle: "h23" });
}

export class Feed {
  #list;
  #empty;
  #onTrim;
  /** What waits for the next frame, oldest first: a flood is drawn once, and never more of it than can be seen. */
  #waiting = [];
  #draw = oncePerFrame(() => this.#flush());

  /** `onTrim` hears the offset of each event that is not kept any more. */
  constructor(list, empty, onTrim) {
    this.#list = list;
    this.#empty = empty;
    this.#onTrim = onTrim;
  }

  /** Show an event's frame; `name` is its resource's. */
  event(frame, name) {
    this.#add({ frame, name });
  }

  /** Show a note about the connection; `tone` is "calm" or "warning". */
  note(text, tone) {
    this.#add({ text, tone });
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#showEmpty();
  }

  #add(line) {
    this.#waiting.push(line);
    if (this.#waiting.length > MOST_LINES) this.#trimmed(this.#waiting.shift().frame?.offset);
    this.#draw();
  }

  #flush() {
    const lines = this.#waiting.map((line) => (line.frame ? eventLine(line) : noteLine(line))).reverse();
    this.#waiting = [];
    this.#list.prepend(...lines);
    while (this.#list.children.length > MOST_LINES) {
      this.#trimmed(this.#list.lastElementChild.dataset.offset);
      this.#list.lastElementChild.remove();
    }
    this.#showEmpty();
  }

  #trimmed(offset) {
    if (offset) this.#onTrim(offset);
  }

  #showEmpty() {
    this.#empty.hidden = this.#list.children.length > 0;
  }
}

function eventLine({ frame, name }) {
  const { event, offset } = frame;
  const time = new Date(event.time);
  const summary = element(
    "summary",
    {},
    element("time", { dateTime: event.time, title: event.time }, clock(time)),
    element("span", { className: "type", title: event.type, data: { verb: event.type.split(".").at(-1) } }, event.type),
    element("span", { className: "name" }, name),
    element("span", { className: "subject" }, event.subject),
  );
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => details.append(json(frame)), { once: true });
  const isNew = Date.now() - time < NEW_MS;
  return element("li", { className: isNew ? "line new" : "line", data: { offset, event: event.id } }, details);
}

function json(frame) {
  return element("pre", { tabIndex: 0 }, JSON.stringify(frame, null, 2));
}

function noteLine({ text, tone }) {
  return element("li", { className: "note", data: { tone } }, text);
}
