/** One twin: its state, what it shall be, its alerts; beside that what it measures, and what would happen to it. */

import { element, oncePerFrame } from "./dom.js";
import { Simulations } from "./simulations.js";
import { tab } from "./tab.js";
import { Telemetry } from "./telemetry.js";

const MOST_ROWS = 200;
const STANDS = { clear: "Clear", pending: "Pending", raised: "Raised" };

export class Twin {
  #root;
  #telemetry;
  #simulations;
  #id = null;
  #rest = null;
  #twin = null;
  #difference = {};
  #alerts = [];
  #problem = "";
  #reading = null;
  #isStale = false;
  /** What was shown last, by path: what is otherwise now is marked. */
  #shown = null;
  #alertsShown = "";
  #life = new AbortController();
  #draw = oncePerFrame(() => this.#show());

  constructor(root) {
    this.#root = root;
    this.#telemetry = new Telemetry(this.#find("#telemetry"));
    this.#simulations = new Simulations(this.#find("#simulations"));
    this.#find("#twin-close").addEventListener("click", () => this.#leave());
  }

  /** Show a twin; what is asked goes through this client, and what is heard comes by `rooms`. */
  open(id, name, rest, rooms) {
    this.#begin(id, name, rest, rooms);
    this.#root.focus();
  }

  /** Show the twin that was open before a reload, if it is still there. */
  async reopen(rest, rooms) {
    const kept = tab.twin;
    if (!kept || this.#id) return;
    try {
      const { name } = await rest.get(`twins/${kept}`);
      if (!this.#id) this.#begin(kept, name, rest, rooms);
    } catch {
      tab.lookAway();
    }
  }

  /** Show none, and forget what was shown. */
  close() {
    this.#life.abort();
    this.#telemetry.close();
    this.#simulations.close();
    this.#id = this.#twin = this.#reading = this.#shown = null;
    this.#difference = {};
    this.#alerts = [];
    this.#alertsShown = this.#problem = "";
    this.#root.hidden = true;
    for (const part of ["#twin-data tbody", "#twin-difference tbody", "#twin-alerts"]) this.#find(part).replaceChildren();
  }

  /** Hear what became of joining a room. */
  joined(joined) {
    this.#telemetry.joined(joined);
    this.#simulations.joined(joined);
  }

  /** Take in an event of a room. */
  apply(frame) {
    this.#telemetry.apply(frame);
    this.#simulations.apply(frame);
  }

  /** A room has been reset: what is shown of it may be out of date. */
  reset(frame) {
    this.#telemetry.reset(frame);
    this.#simulations.reset(frame);
  }

  /** Take in an event of the log: of this twin it means that it has changed. */
  happened({ type, subject, data }) {
    if (this.#id === null) return;
    if (type.startsWith("twin.simulation.") && data.twin_id === this.#id) this.#simulations.happened();
    if (subject !== `twins/${this.#id}`) return;
    if (type === "twin.deleted") this.#leave();
    else this.readAgain();
  }

  /** Read the twin; where it is being read, once more after that, however often it is asked for. */
  async readAgain() {
    if (this.#id === null) return;
    if (this.#reading) {
      this.#isStale = true;
      return;
    }
    const { signal } = (this.#reading = this.#life);
    do {
      this.#isStale = false;
      try {
        await this.#read(signal);
        this.#problem = "";
      } catch (failure) {
        if (signal.aborted) return;
        this.#problem = failure.message;
      }
      this.#draw(); // a twin that changes all the time is seen too
    } while (this.#isStale && !signal.aborted);
    if (!signal.aborted) this.#reading = null;
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #begin(id, name, rest, rooms) {
    this.close();
    this.#id = id;
    this.#rest = rest;
    this.#life = new AbortController();
    tab.look(id);
    this.#find("#twin-title").textContent = name;
    this.#find("#twin-status").textContent = "";
    this.#root.hidden = false;
    this.#telemetry.open(id, rest, rooms);
    this.#simulations.open(id, rest, rooms);
    this.#draw();
    this.readAgain();
  }

  #leave() {
    tab.lookAway();
    this.close();
  }

  async #read(signal) {
    const asked = [this.#rest.get(`twins/${this.#id}`, signal), this.#rest.difference(this.#id, signal), this.#rest.alerts(this.#id, signal)];
    const [twin, difference, alerts] = await Promise.all(asked);
    if (twin.version !== this.#twin?.version) this.#simulations.changed();
    this.#twin = twin;
    this.#difference = difference;
    this.#alerts = alerts.data;
  }

  #show() {
    const message = this.#find("#twin-message");
    message.textContent = this.#problem;
    message.dataset.tone = "bad";
    if (this.#twin === null) return;
    const { name, type, status } = this.#twin;
    this.#find("#twin-title").textContent = name;
    this.#find("#twin-status").textContent = `${type}, ${status}`;
    this.#showData();
    this.#showDifference();
    this.#showAlerts();
  }

  #showData() {
    const rows = this.#twin.data === null ? [] : first(leaves(this.#twin.data), MOST_ROWS + 1);
    const texts = new Map(rows.slice(0, MOST_ROWS).map(([path, value]) => [path.join(".") || "value", text(value)]));
    const isFresh = (path) => this.#shown !== null && this.#shown.get(path) !== texts.get(path);
    const shown = [...texts].map(([path, told]) => row(path, [told], isFresh(path)));
    if (rows.length > MOST_ROWS) shown.push(row("…", [`the first ${MOST_ROWS} values are shown`]));
    this.#find("#twin-data").hidden = !rows.length;
    this.#find("#twin-data tbody").replaceChildren(...shown);
    this.#shown = texts;
  }

  #showDifference() {
    const { difference = {}, reported } = this.#difference;
    const isThere = Object.keys(difference).length > 0;
    const rows = isThere ? first(leaves(difference), MOST_ROWS) : [];
    const shown = rows.map(([path, value]) => row(path.join("."), [value === null ? "not there" : text(value), text(at(reported, path))]));
    this.#find("#twin-difference").hidden = !isThere;
    this.#find("#twin-difference tbody").replaceChildren(...shown);
  }

  /** Draw only what is news: it is read aloud. */
  #showAlerts() {
    const told = JSON.stringify(this.#alerts);
    if (told === this.#alertsShown) return;
    this.#alertsShown = told;
    this.#find("#twin-alerts").replaceChildren(...this.#alerts.map(alert));
  }
}

function alert({ id, metric, when, threshold, status, severity, value, since }) {
  const at = since === null ? "" : ` since ${new Date(since).toLocaleTimeString("en-GB")}`;
  const now = status === "raised" && value !== null ? `, at ${value.toLocaleString("en", { maximumSignificantDigits: 6 })}${at}` : "";
  return element(
    "li",
    { data: { rule: id } },
    element("span", { className: "status", data: { status, severity } }, STANDS[status] ?? status),
    ` ${id}: ${metric} ${when} ${threshold}${now}`,
  );
}

function row(name, texts, isFresh = false) {
  const cells = texts.map((each) => element("td", {}, each));
  return element("tr", { className: isFresh ? "fresh" : "" }, element("th", { scope: "row" }, name), ...cells);
}

/** Each value that holds no others, with the names on the way to it. */
function* leaves(value, path = []) {
  const isWhole = value === null || typeof value !== "object" || !Object.keys(value).length;
  if (isWhole) yield [path, value];
  else for (const [name, inner] of Object.entries(value)) yield* leaves(inner, [...path, name]);
}

function first(values, most) {
  const taken = [];
  for (const value of values) if (taken.push(value) === most) break;
  return taken;
}

function at(value, path) {
  return path.reduce((inner, name) => inner?.[name], value);
}

function text(value) {
  if (value === undefined) return "not there";
  return typeof value === "string" ? value : JSON.stringify(value);
}
