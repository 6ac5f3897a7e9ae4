/** What a twin measures: one line for each metric, which goes on as points come. */

import { Line } from "./chart.js";
import { element, oncePerFrame } from "./dom.js";

const HOUR_MS = 3_600_000;
const TICK_MS = 1_000;
// As many as the hub answers where none are named.
const MOST_METRICS = 10;

export class Telemetry {
  #root;
  #rows;
  #remark;
  #span;
  #twin = null;
  #rest = null;
  #rooms = null;
  /** @type {Map<string, {points: import("./chart.js").Point[], latest: object, row: object}>} */
  #metrics = new Map();
  #hasMore = false;
  #problem = "";
  #clock = null;
  #life = new AbortController();
  #draw = oncePerFrame(() => this.#show());

  constructor(root) {
    this.#root = root;
    this.#rows = root.querySelector("ul");
    this.#remark = root.querySelector(".remark");
    this.#span = root.querySelector("select");
    this.#span.addEventListener("change", () => this.#draw());
  }

  /** Show what a twin measures: of the last hour, and from now on. */
  open(twin, rest, rooms) {
    this.close();
    this.#twin = twin;
    this.#rest = rest;
    this.#rooms = rooms;
    this.#life = new AbortController();
    // It moves on also while nothing comes.
    this.#clock = setInterval(() => this.#draw(), TICK_MS);
    rooms.join(this.#room);
    this.#draw();
  }

  /** Show nothing, and forget what was shown. */
  close() {
    this.#life.abort();
    clearInterval(this.#clock);
    if (this.#room) this.#rooms.leave(this.#room);
    this.#twin = null;
    this.#metrics.clear();
    this.#hasMore = false;
    this.#problem = "";
    this.#rows.replaceChildren();
  }

  /** Hear what became of joining the room: what came before is read, once it is sure that all that follows is heard. */
  joined({ channel, error }) {
    if (channel !== this.#room) return;
    this.#problem = error?.message ?? "";
    if (error) this.#draw();
    else this.#read();
  }

  /** Take in an event of the room. */
  apply({ channel, event: { data } }) {
    if (channel !== this.#room) return;
    for (const [metric, { time, value }] of Object.entries(data.metrics ?? {})) {
      this.#of(metric)?.take({ time: Date.parse(time), value });
    }
    this.#draw();
  }

  /** The room has been reset: read what was missed. */
  reset({ channel }) {
    if (channel === this.#room) this.#read();
  }

  get #room() {
    return this.#twin && `twins:${this.#twin}/telemetry`;
  }

  async #read() {
    const { signal } = this.#life;
    try {
      const { series } = await this.#rest.telemetry(this.#twin, signal);
      for (const [metric, buckets] of Object.entries(series)) {
        this.#of(metric)?.begin(buckets.map(({ time, avg }) => ({ time: Date.parse(time), value: avg })));
      }
      this.#problem = "";
    } catch (failure) {
      if (signal.aborted) return;
      this.#problem = failure.message;
    }
    this.#draw();
  }

  #of(name) {
    const known = this.#metrics.get(name);
    if (known) return known;
    if (this.#metrics.size === MOST_METRICS) {
      this.#hasMore = true;
      return null;
    }
    const metric = new Metric(name);
    this.#metrics.set(name, metric);
    this.#rows.append(metric.node);
    return metric;
  }

  #show() {
    if (this.#twin === null) return;
    const remark = this.#hasMore ? `${MOST_METRICS} metrics are shown` : this.#metrics.size ? "" : "Nothing was measured in the last hour";
    this.#remark.textContent = this.#problem || remark;
    this.#remark.classList.toggle("problem", Boolean(this.#problem));
    const span = Number(this.#span.value) * 60_000;
    const now = Date.now();
    for (const metric of this.#metrics.values()) metric.draw(now, span, this.#span.selectedOptions[0].textContent);
  }
}

/** One metric: its points of the last hour, and its row. */
class Metric {
  node;
  #name;
  #points = [];
  #value = element("output", { className: "value" });
  #range = element("span", { className: "range" });
  #line = new Line();

  constructor(name) {
    this.#name = name;
    const head = element("div", { className: "metric" }, element("span", { className: "name" }, name), this.#range, this.#value);
    this.#value.setAttribute("aria-live", "off");
    this.node = element("li", { data: { metric: name } }, head, this.#line.node);
  }

  /** Take what was before; points that have come meanwhile follow it. */
  begin(points) {
    const last = points.at(-1)?.time ?? -Infinity;
    this.#points = [...points, ...this.#points.filter(({ time }) => time > last)];
  }

  /** Take a new point: a value may come twice, and one of a second is enough. */
  take(point) {
    const [before, last] = [this.#points.at(-2), this.#points.at(-1)];
    if (last && point.time <= last.time) return;
    if (before && point.time - before.time < TICK_MS) this.#points.pop();
    this.#points.push(point);
  }

  /** Draw the `span` milliseconds up to `now`, or up to the newest point where another clock is ahead. */
  draw(now, span, told) {
    const last = this.#points.at(-1);
    const to = Math.max(now, last?.time ?? 0);
    this.#points = this.#points.filter(({ time }) => time > to - HOUR_MS || time === last.time);
    const points = this.#points.filter(({ time }) => time >= to - span);
    const values = points.map(({ value }) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const range = points.length ? `${shown(low)} to ${shown(high)}` : "nothing";
    this.#value.textContent = last ? shown(last.value) : "";
    this.#range.textContent = range;
    this.#line.draw(points, { from: to - span, to, low, high, label: `${this.#name}, ${told}: ${range}` });
  }
}

function shown(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 6 });
}
