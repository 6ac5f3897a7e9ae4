/** The resources that there are now: read once by REST, kept current by events. */

import { element, oncePerFrame } from "./dom.js";

const MOST_ROWS = 100;
const MOST_REMEMBERED = 1_000;
const RETRY_MS = 3_000;

/**
 * One kind, such as `agents`. A list that is read while events come may be older than they are, and events that are told
 * again are older than the list: the version decides, and what was deleted stays so.
 */
export class Resources {
  #kind;
  #rest;
  #view;
  #rows = new Map();
  #deleted = new Set();
  #fresh = new Set();
  #isRead = false;
  #isPart = false;
  #problem = "";
  #reading = null;
  #onOpen;
  #draw = oncePerFrame(() => this.#show());

  /** `view` is the kind's `<details>`; `onOpen`, where there is one, hears of a resource that somebody wants to see. */
  constructor(kind, rest, view, onOpen = null) {
    this.#onOpen = onOpen;
    this.#kind = kind;
    this.#rest = rest;
    this.#view = view;
    this.#draw();
  }

  /** Return the last known name of a resource, or a short form of its id. */
  nameOf({ subject, data }) {
    const id = data?.agent_id ?? data?.twin_id ?? subject.split("/").at(-1);
    return data?.name ?? this.#rows.get(id)?.name ?? `…${id.slice(-8)}`;
  }

  /** Forget everything and read it again: at first, and when the log has been reset. */
  async read() {
    this.close();
    this.#rows.clear();
    this.#deleted.clear();
    const { signal } = (this.#reading = new AbortController());
    try {
      const { data, pagination } = await this.#rest.list(this.#kind, signal);
      data.forEach((resource) => this.#merge(resource));
      this.#isRead = true;
      this.#isPart = pagination.total > MOST_ROWS;
      this.#problem = "";
    } catch (failure) {
      if (signal.aborted) return;
      this.#problem = failure.message;
      if (failure.status === 0 || failure.status >= 429) this.#readAgain(signal);
    }
    this.#draw();
  }

  /** Take in an event of this kind; those of what its resources do are none. */
  apply({ type, subject, data }) {
    if (!subject.startsWith(`${this.#kind}/`)) return;
    if (type.endsWith(".deleted")) this.#delete(data.id);
    else if (!data.version) return; // it tells of something else than a new version
    else if (data.truncated) this.#fetch(subject);
    else if (this.#merge(data)) this.#fresh.add(data.id);
    this.#draw();
  }

  /** Show why this kind cannot be seen. */
  refuse(message) {
    this.#problem = message;
    this.#draw();
  }

  /** Stop reading. */
  close() {
    this.#reading?.abort();
  }

  #readAgain(signal) {
    setTimeout(() => signal.aborted || this.read(), RETRY_MS);
  }

  async #fetch(subject) {
    try {
      this.#merge(await this.#rest.get(subject, this.#reading?.signal));
      this.#draw();
    } catch {
      // It is gone again, and the event of that follows; or the next list has it.
    }
  }

  #merge(resource) {
    const known = this.#rows.get(resource.id);
    if (this.#deleted.has(resource.id) || known?.version >= resource.version) return false;
    this.#rows.set(resource.id, resource);
    return true;
  }

  #delete(id) {
    this.#rows.delete(id);
    this.#deleted.add(id);
    // Only a list that is being read now could bring one back.
    if (this.#deleted.size > MOST_REMEMBERED) this.#deleted.delete(this.#deleted.values().next().value);
  }

  #show() {
    // Ids are made in the order of time.
    const rows = [...this.#rows.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
    const older = rows.splice(MOST_ROWS);
    older.forEach(({ id }) => this.#rows.delete(id));
    this.#isPart ||= older.length > 0;
    const count = this.#isRead ? `${rows.length}${this.#isPart ? "+" : ""}` : "";
    this.#view.querySelector(".count").textContent = count;
    this.#view.querySelector("ul").replaceChildren(...rows.map((resource) => this.#row(resource)));
    this.#remark(this.#isPart ? "The newest are shown" : count === "0" ? "None yet" : "");
    this.#fresh.clear();
  }

  #remark(text) {
    const remark = this.#view.querySelector(".remark");
    remark.textContent = this.#problem || text;
    remark.classList.toggle("problem", Boolean(this.#problem));
  }

  #row({ id, name, type, status }) {
    const shown = [element("span", { className: "name" }, name), element("span", { className: "kind" }, type)];
    return element(
      "li",
      { className: this.#fresh.has(id) ? "fresh" : "", title: `${this.#kind}/${id}, ${status}`, data: { id } },
      ...(this.#onOpen ? [element("button", { type: "button", onclick: () => this.#onOpen(id, name) }, ...shown)] : shown),
    );
  }
}
