/** What would happen to a twin: scenarios with their parameters, and one simulation at a time, as it runs and what it came to. */

import { element, oncePerFrame } from "./dom.js";
import { Drawing } from "./drawing.js";
import { fieldsOf, valuesOf } from "./parameters.js";

const STATUSES = { queued: "Queued", running: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled" };
const ENDS = ["completed", "failed", "cancelled"];

export class Simulations {
  #root;
  #twin = null;
  #rest = null;
  #rooms = null;
  #scenarios = [];
  #runs = [];
  /** The id of the one that is shown. */
  #chosen = null;
  #room = null;
  /** (attempt, done) of what was heard last: what is not further is no news. */
  #seen = [-1, -1];
  #once = null;
  #reading = null;
  #isStale = false;
  #drawing;
  #life = new AbortController();
  #draw = oncePerFrame(() => this.#show());

  constructor(root) {
    this.#root = root;
    this.#drawing = new Drawing(this.#find("#plot"), this.#find("#drawn"), (failure) => this.#refused(failure));
    const form = this.#find("#simulate");
    form.addEventListener("submit", (event) => this.#begin(event));
    form.addEventListener("input", () => (this.#once = null));
    form.elements.scenario.addEventListener("change", () => this.#showParameters());
    this.#find("#simulations-run").addEventListener("change", ({ target }) => this.#choose(target.value));
    this.#find("#simulation-cancel").addEventListener("click", () => this.#cancel());
  }

  /** Show the newest simulation of a twin: one that runs is followed. What can be simulated is asked once `changed()`. */
  open(twin, rest, rooms) {
    this.close();
    this.#twin = twin;
    this.#rest = rest;
    this.#rooms = rooms;
    this.#life = new AbortController();
    this.happened();
  }

  /** Show none, and forget what was shown. */
  close() {
    this.#life.abort();
    this.#leaveRoom();
    this.#twin = this.#chosen = this.#reading = this.#once = null;
    this.#scenarios = [];
    this.#runs = [];
    this.#find("#simulate").reset();
    this.#find("#parameters").replaceChildren();
    this.#say("");
    this.#drawing.drop();
    this.#show();
  }

  /** The twin was read, and is not what it was: nor may be what can be simulated. */
  async changed() {
    const { signal } = this.#life;
    try {
      const { data } = await this.#rest.scenarios(this.#twin, signal);
      if (JSON.stringify(data) === JSON.stringify(this.#scenarios)) return;
      this.#scenarios = data;
      this.#showScenarios();
    } catch (failure) {
      if (!signal.aborted) this.#refused(failure);
    }
  }

  /** Read the newest simulations; where they are being read, once more after that, however often it is asked for. */
  async happened() {
    if (this.#twin === null) return;
    if (this.#reading) {
      this.#isStale = true;
      return;
    }
    const { signal } = (this.#reading = this.#life);
    do {
      this.#isStale = false;
      try {
        const { data } = await this.#rest.simulations(this.#twin, signal);
        if (!signal.aborted) data.forEach((each) => this.#merge(each));
      } catch (failure) {
        if (signal.aborted) return;
        this.#refused(failure);
      }
    } while (this.#isStale && !signal.aborted);
    if (signal.aborted) return;
    this.#reading = null;
    if (this.#chosen === null && this.#runs.length) this.#choose(this.#runs[0].id);
    this.#draw();
  }

  /** Hear what became of joining the room of the one that is shown. */
  joined({ channel, error }) {
    if (channel === this.#room && error) this.#say(error.message, "bad");
  }

  /** Take in an event of its room. */
  apply({ channel, event: { data } }) {
    if (channel !== this.#room) return;
    const { attempt, done, status } = data;
    const [lastAttempt, lastDone] = this.#seen;
    const isFurther = attempt > lastAttempt || (attempt === lastAttempt && done > lastDone);
    const run = this.#run;
    if (ENDS.includes(status)) this.happened(); // the list has its findings
    else if (isFurther && run && !ENDS.includes(run.status)) {
      this.#seen = [attempt, done];
      Object.assign(run, { status, attempt, progress: { done, total: data.total } });
    }
    this.#draw();
  }

  /** Its room has been reset. */
  reset({ channel }) {
    if (channel === this.#room) this.happened();
  }

  get #run() {
    return this.#runs.find(({ id }) => id === this.#chosen);
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #say(text, tone = "") {
    const message = this.#find("#simulations-message");
    message.textContent = text;
    message.dataset.tone = tone;
  }

  #refused({ message, details = [] }) {
    const [first] = details;
    this.#say(first ? `${first.field}: ${first.message}` : message, "bad");
  }

  /** Keep the later of what is known; newest first, since ids are made in the order of time. */
  #merge(run) {
    const known = this.#runs.find(({ id }) => id === run.id);
    if (!known) this.#runs.push(run);
    else if (run.version >= known.version && !ENDS.includes(known.status)) {
      const progress = run.attempt === known.attempt && run.progress.done < known.progress.done ? known.progress : run.progress;
      Object.assign(known, run, { progress });
    }
    this.#runs.sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  // Asking

  async #begin(event) {
    event.preventDefault();
    const { signal } = this.#life;
    const { scenario, runs, seed, horizon, baseline } = event.target.elements;
    try {
      const body = { scenario: scenario.value, parameters: valuesOf(this.#find("#parameters")), baseline: baseline.checked };
      if (runs.value) body.runs = Number(runs.value);
      if (seed.value) body.seed = Number(seed.value);
      if (horizon.value) body.horizon = Number(horizon.value);
      this.#once ??= crypto.randomUUID();
      this.#say("");
      const run = await this.#rest.simulate(this.#twin, body, this.#once);
      if (signal.aborted) return;
      this.#once = null;
      this.#merge(run);
      this.#choose(run.id);
    } catch (failure) {
      if (!signal.aborted) this.#refused(failure);
    }
  }

  async #cancel() {
    const { signal } = this.#life;
    try {
      const run = await this.#rest.cancel(this.#chosen);
      if (signal.aborted) return;
      this.#merge(run);
      this.#draw();
    } catch (failure) {
      if (!signal.aborted) this.#refused(failure);
    }
  }

  #choose(id) {
    this.#leaveRoom();
    this.#drawing.drop();
    this.#chosen = id;
    this.#seen = [-1, -1];
    if (!ENDS.includes(this.#run.status)) {
      this.#room = `simulations:${id}`;
      this.#rooms.join(this.#room);
    }
    this.#draw();
  }

  #leaveRoom() {
    if (this.#room) this.#rooms.leave(this.#room);
    this.#room = null;
  }

  // What is shown

  #showScenarios() {
    const select = this.#find("#simulate").elements.scenario;
    const before = select.value;
    select.replaceChildren(...this.#scenarios.map(({ name }) => element("option", { value: name }, name.replaceAll("_", " "))));
    if (this.#scenarios.some(({ name }) => name === before)) select.value = before;
    this.#showParameters();
  }

  #showParameters() {
    const { value } = this.#find("#simulate").elements.scenario;
    const scenario = this.#scenarios.find(({ name }) => name === value);
    this.#find("#scenario-says").textContent = scenario?.description.split("\n\n")[0] ?? "";
    this.#find("#parameters").replaceChildren(...(scenario ? fieldsOf(scenario.parameters) : []));
  }

  #show() {
    this.#showRuns();
    const run = this.#run;
    this.#find("#simulation").hidden = !run;
    if (!run) return;
    const hasEnded = ENDS.includes(run.status);
    if (hasEnded) this.#leaveRoom();
    Object.assign(this.#find("progress"), { max: run.progress.total, value: run.progress.done });
    this.#find("progress").textContent = `${run.progress.done} of ${run.progress.total}`;
    const status = this.#find(".status");
    if (status.textContent !== STATUSES[run.status]) status.textContent = STATUSES[run.status] ?? run.status;
    status.dataset.status = run.status;
    this.#find("#simulation-cancel").hidden = hasEnded;
    const told = run.error ? [run.error.message] : (run.summary?.findings ?? []);
    this.#find("#findings").replaceChildren(...told.map((each) => element("li", {}, each)));
    this.#find("#notes").replaceChildren(...run.notes.map((each) => element("li", {}, each)));
    this.#showIndicators(run.summary?.indicators ?? {});
    if (run.status === "completed") this.#drawing.show(run, this.#rest, this.#life.signal);
  }

  /** Draw the choice anew only where there is news: somebody may be choosing. */
  #showRuns() {
    const select = this.#find("#simulations-run");
    const options = this.#runs.map(option);
    const isSame = options.length === select.options.length && options.every((each, at) => each.isEqualNode(select.options[at]));
    if (!isSame) select.replaceChildren(...options);
    select.value = this.#chosen ?? "";
    select.parentElement.hidden = !options.length;
  }

  #showIndicators(indicators) {
    const rows = Object.entries(indicators).map(([name, { unit, baseline, change, ...measured }]) => {
      const cells = [measured, baseline, change].map((each) => element("td", { className: "number" }, interval(each)));
      return element("tr", {}, element("th", { scope: "row" }, unit ? `${name}, ${unit}` : name), ...cells);
    });
    this.#find("details").hidden = !rows.length;
    this.#find("#indicators tbody").replaceChildren(...rows);
  }
}

function option({ id, scenario, status, created_at }) {
  const at = new Date(created_at).toLocaleTimeString("en-GB");
  return element("option", { value: id }, `${scenario.replaceAll("_", " ")}, ${at}, ${status}`);
}

function interval(estimate) {
  if (!estimate) return "";
  const [mean, low, high] = [estimate.mean, estimate.low, estimate.high].map(shown);
  return low === high ? mean : `${mean} (${low} to ${high})`;
}

function shown(value) {
  return value === null || value === undefined ? "?" : value.toLocaleString("en", { maximumSignificantDigits: 5 });
}
