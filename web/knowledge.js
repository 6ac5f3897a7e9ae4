/** One knowledge base: its documents as they become ready, a place to drop more, and questions with answers that name their source. */

import { citationsOf, citing, where } from "./citations.js";
import { element, oncePerFrame } from "./dom.js";

// What one request takes at most (docs/knowledge.md, "Documents").
const MOST_FILES = 20;
const MOST_BYTES = 32 * 1024 * 1024;
const MOST_ROWS = 100;
const STATUSES = { pending: "Being read", ready: "Ready", failed: "Failed" };
const UNITS = ["B", "KiB", "MiB", "GiB"];

export class Base {
  #root;
  #id = null;
  #rest = null;
  #documents = [];
  #total = 0;
  #problem = "";
  #asking = null;
  #reading = null;
  #isStale = false;
  /** Of what is still going on when the base is closed. */
  #life = new AbortController();
  #draw = oncePerFrame(() => this.#show());

  constructor(root) {
    this.#root = root;
    this.#find("#base-close").addEventListener("click", () => this.close());
    this.#find("#ask").addEventListener("submit", (event) => this.#ask(event));
    this.#find("[name=files]").addEventListener("change", (event) => this.#picked(event.target));
    const drop = this.#find(".drop");
    for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => this.#over(event, true));
    drop.addEventListener("dragleave", (event) => this.#over(event, false));
    drop.addEventListener("drop", (event) => this.#dropped(event));
  }

  /** Show a base; what is read and asked goes through this client. */
  open(id, name, rest) {
    this.close();
    this.#id = id;
    this.#rest = rest;
    this.#life = new AbortController();
    this.#find("#base-title").textContent = name;
    this.#root.hidden = false;
    this.#root.focus();
    this.readAgain();
  }

  /** Show none, and forget what was shown. */
  close() {
    this.#life.abort();
    this.#asking?.abort();
    this.#id = this.#reading = null;
    this.#documents = [];
    this.#total = 0;
    this.#problem = "";
    this.#root.hidden = true;
    this.#find("#ask").reset();
    this.#find("#answer").replaceChildren();
    this.#find("#results").replaceChildren();
    this.#say("");
  }

  /** Take in an event: of this base it means that its documents have changed. */
  apply({ type, subject }) {
    if (this.#id === null || subject !== `knowledge/${this.#id}`) return;
    if (type === "knowledge.deleted") this.close();
    else this.readAgain();
  }

  /** Read the documents; where they are being read, once more after that, however often it is asked for. */
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
        const { data, pagination } = await this.#rest.documents(this.#id, signal);
        this.#documents = data;
        this.#total = pagination.total;
        this.#problem = "";
      } catch (failure) {
        if (signal.aborted) return;
        this.#problem = failure.message;
      }
    } while (this.#isStale && !signal.aborted);
    if (signal.aborted) return;
    this.#reading = null;
    this.#draw();
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  // Documents

  #over(event, isOver) {
    event.preventDefault();
    this.#find(".drop").classList.toggle("over", isOver);
  }

  #dropped(event) {
    this.#over(event, false);
    this.#upload([...event.dataTransfer.files]);
  }

  #picked(input) {
    const files = [...input.files];
    input.value = ""; // the same file may be chosen again
    this.#upload(files);
  }

  async #upload(files) {
    const { signal } = this.#life;
    let sent = 0;
    const refused = [];
    for (const some of together(files)) {
      this.#say(`Uploading ${sent + 1} of ${files.length}`);
      try {
        await this.#rest.upload(this.#id, some, signal);
      } catch (failure) {
        if (signal.aborted) return;
        const why = failure.details?.[0]?.message ?? failure.message;
        refused.push(`${some.length > 1 ? `${some.length} files` : some[0].name}: ${why}`);
      }
      sent += some.length;
      this.readAgain();
    }
    if (refused.length) this.#say(refused.join(" · "), "bad");
    else if (sent) this.#say(sent === 1 ? `Uploaded: ${files[0].name}` : `Uploaded: ${sent} files`, "good");
  }

  #say(text, tone = "") {
    const message = this.#find("#upload-message");
    message.textContent = text;
    message.dataset.tone = tone;
  }

  #show() {
    const rows = this.#documents.map(documentRow);
    this.#find("#documents tbody").replaceChildren(...rows);
    this.#find("#documents .count").textContent = this.#total;
    this.#find("#documents").hidden = rows.length === 0;
    const remark = this.#find("#documents-remark");
    const part = this.#total > MOST_ROWS ? `The newest ${MOST_ROWS} are shown` : "";
    remark.textContent = this.#problem || part || (rows.length ? "" : "No documents yet");
    remark.classList.toggle("problem", Boolean(this.#problem));
  }

  // Questions

  async #ask(event) {
    event.preventDefault();
    const question = this.#find("[name=question]").value.trim();
    if (!question || this.#id === null) return;
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    const answer = this.#find("#answer");
    answer.setAttribute("aria-busy", "true");
    try {
      this.#told(await this.#rest.query(this.#id, question, signal));
    } catch (failure) {
      if (signal.aborted) return;
      this.#find("#results").replaceChildren();
      const why = failure.details?.[0]?.message ?? failure.message;
      answer.replaceChildren(element("p", { className: "problem" }, why));
    }
    answer.removeAttribute("aria-busy");
  }

  #told({ answer, results, corrected }) {
    const told = [];
    const words = Object.entries(corrected ?? {});
    if (words.length) told.push(element("p", { className: "hint" }, `Searched for ${words.map(([, to]) => to).join(", ")}`));
    if (answer) told.push(...answerOf(answer));
    if (!results.length) told.push(element("p", { className: "hint" }, "Nothing was found"));
    this.#find("#answer").replaceChildren(...told);
    this.#find("#results").replaceChildren(...results.map(resultOf));
  }
}

/** Split files as one request takes them. */
function* together(files) {
  let some = [];
  let bytes = 0;
  for (const file of files) {
    if (some.length && (some.length === MOST_FILES || bytes + file.size > MOST_BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(file);
    bytes += file.size;
  }
  if (some.length) yield some;
}

function documentRow({ id, name, status, chunks, bytes, error }) {
  const said = element("span", { className: "status", data: { status } }, STATUSES[status] ?? status);
  const state = element("td", {}, said);
  if (error) state.append(element("span", { className: "why" }, error.message));
  return element(
    "tr",
    { data: { id } },
    element("th", { scope: "row", title: name }, name),
    state,
    element("td", { className: "number" }, status === "ready" ? String(chunks) : ""),
    element("td", { className: "number" }, size(bytes)),
  );
}

function size(bytes) {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${UNITS[power]}`;
}

/** The answer, in which [1] leads to what is quoted below it. */
function answerOf({ text, supported, citations = [], notice }) {
  const parts = citing(text, citations, "citation");
  const made = [element("p", { className: supported === false ? "unsupported" : "answer" }, ...parts)];
  if (notice) made.push(element("p", { className: "hint" }, notice));
  return [...made, ...citationsOf(citations, "citation")];
}

function resultOf({ name, title, snippet, place }) {
  return element(
    "li",
    {},
    element("cite", { title: name }, title || name),
    element("span", { className: "place" }, where(place)),
    element("p", { className: "snippet" }, ...marked(snippet)),
  );
}

/** A snippet with its highlights, whose places count code points. */
function marked({ text, highlights }) {
  const characters = Array.from(text);
  const parts = [];
  let shown = 0;
  for (const [start, end] of highlights) {
    parts.push(characters.slice(shown, start).join(""), element("mark", {}, characters.slice(start, end).join("")));
    shown = end;
  }
  return [...parts, characters.slice(shown).join("")];
}
