/** One agent: its conversations, what is said in them, and the answer while it is written, wherever this page joins it. */

import { citationsOf, citing } from "./citations.js";
import { element, oncePerFrame } from "./dom.js";
import { Run } from "./run.js";
import { tab } from "./tab.js";

const PER_PAGE = 20;
const MOST_PAGES = 5;
const NEW = "";

export class Chat {
  #root;
  #agent = null;
  #rest = null;
  #rooms = null;
  #sessions = [];
  #session = null;
  #messages = [];
  #earlier = 0;
  #run = null;
  #edited = null;
  #once = null;
  #isSending = false;
  #reading = null;
  #isStale = false;
  /** Until the agent's conversations are there. */
  #opening = null;
  /** Of what is still going on when another conversation is opened. */
  #life = new AbortController();
  #drawAll = oncePerFrame(() => this.#show());
  #drawRun = oncePerFrame(() => this.#showRun());

  constructor(root) {
    this.#root = root;
    this.#find("#chat-close").addEventListener("click", () => this.#leave());
    this.#find("#chat-sessions").addEventListener("change", ({ target }) => this.#choose(target.value));
    this.#find("#say").addEventListener("submit", (event) => this.#submit(event));
    this.#find("#stop").addEventListener("click", () => this.#do("cancel"));
    this.#find("#editing button").addEventListener("click", () => this.#edit(null));
    this.#text.addEventListener("input", () => (this.#once = null));
    this.#text.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show an agent's conversations, the last one open, or `session`; `rooms` joins and leaves channels. */
  async open(id, name, rest, rooms, session = null) {
    this.close();
    this.#agent = id;
    this.#rest = rest;
    this.#rooms = rooms;
    this.#find("#chat-title").textContent = name;
    this.#root.hidden = false;
    this.#show();
    if (session === null) this.#root.focus();
    this.#opening = this.#readSessions(session);
    await this.#opening;
  }

  /** Open again what this tab had open before it was reloaded. */
  async reopen(rest, rooms) {
    const kept = tab.chat;
    if (!kept || this.#agent) return;
    try {
      const { name } = await rest.get(`agents/${kept.agent}`);
      if (!this.#agent) this.open(kept.agent, name, rest, rooms, kept.session ?? NEW);
    } catch {
      tab.hush();
    }
  }

  /** Show none, and forget what was shown. */
  close() {
    this.#forget();
    this.#agent = null;
    this.#sessions = [];
    this.#root.hidden = true;
    this.#find("#say").reset();
  }

  /** Hear what became of joining the session's room. */
  joined({ channel, error }) {
    if (channel !== this.#room) return;
    if (error) this.#say(error.message, "bad");
    else this.readAgain();
  }

  /** Take in an event of the session's room. */
  apply({ channel, event: { type, data } }) {
    if (channel !== this.#room) return;
    if (!type.startsWith("run.")) return this.readAgain();
    if (this.#run?.id !== data.execution_id) {
      if (this.#run && this.#run.id > data.execution_id) return; // of one that ended before
      this.#run = new Run(data.execution_id);
    }
    if (!this.#run.apply(type, data)) return;
    if (this.#run.hasEnded) this.readAgain();
    this.#drawRun();
  }

  /** The session's room has been reset: what is shown may be out of date. */
  reset({ channel }) {
    if (channel === this.#room) this.readAgain();
  }

  /** Take in an event of the agent itself. */
  happened({ type, subject, data }) {
    if (this.#agent === null || subject !== `agents/${this.#agent}`) return;
    if (type === "agent.deleted") this.#leave();
    else if (type === "agent.updated" && data.name) this.#find("#chat-title").textContent = data.name;
  }

  /** Read the session and its messages; where they are being read, once more after that, however often it is asked for. */
  async readAgain() {
    if (this.#session === null) return;
    if (this.#reading) {
      this.#isStale = true;
      return;
    }
    const { signal } = (this.#reading = this.#life);
    do {
      this.#isStale = false;
      try {
        await this.#read(signal);
      } catch (failure) {
        if (signal.aborted) return;
        this.#problem(failure);
      }
    } while (this.#isStale && !signal.aborted);
    if (signal.aborted) return;
    this.#reading = null;
    this.#drawAll();
  }

  // What is shown

  get #room() {
    return this.#session && `sessions:${this.#session.id}`;
  }

  get #text() {
    return this.#find("[name=text]");
  }

  get #isBusy() {
    return Boolean(this.#session?.active_id) || (this.#run !== null && !this.#run.hasEnded);
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #leave() {
    tab.hush();
    this.close();
  }

  #forget() {
    this.#life.abort();
    this.#life = new AbortController();
    if (this.#room) this.#rooms.leave(this.#room);
    this.#session = this.#run = this.#edited = this.#once = this.#reading = null;
    this.#messages = [];
    this.#earlier = 0;
    this.#isSending = false;
    this.#say("");
  }

  #choose(id) {
    this.#forget();
    this.#session = this.#sessions.find((each) => each.id === id) ?? null;
    tab.talk(this.#agent, id);
    if (this.#room) this.#rooms.join(this.#room);
    this.#show();
  }

  async #readSessions(session) {
    const { signal } = this.#life;
    try {
      this.#sessions = (await this.#rest.sessions(this.#agent, signal)).data;
      if (!signal.aborted) this.#choose(this.#sessions.find((each) => each.id === session)?.id ?? this.#sessions[0]?.id ?? NEW);
    } catch (failure) {
      if (!signal.aborted) this.#problem(failure);
    }
  }

  async #read(signal) {
    const { id } = this.#session;
    const session = await this.#rest.session(this.#agent, id, signal);
    const first = await this.#rest.messages(this.#agent, id, 1, signal);
    const last = Math.max(1, Math.ceil(first.pagination.total / PER_PAGE));
    const from = Math.max(1, last - MOST_PAGES + 1);
    const numbers = Array.from({ length: last - from + 1 }, (_, index) => from + index);
    const pages = await Promise.all(
      numbers.map((page) => (page === 1 ? first : this.#rest.messages(this.#agent, id, page, signal))),
    );
    this.#session = session;
    this.#sessions = [session, ...this.#sessions.filter((each) => each.id !== id)];
    this.#messages = pages.flatMap(({ data }) => data);
    this.#earlier = (from - 1) * PER_PAGE;
    this.#settle();
  }

  /** Let go of a run whose answer is among the messages now; why there is none stays to be read. */
  #settle() {
    const run = this.#run;
    if (!run?.hasEnded || this.#session.active_id === run.id) return;
    if (run.status === "failed") this.#say(`No answer: ${run.error?.message ?? "it failed"}`, "bad");
    else if (run.status === "cancelled") this.#say("Stopped", "calm");
    this.#run = null;
  }

  #show() {
    this.#showSessions();
    this.#find("#messages").replaceChildren(...this.#messages.map((message, index) => this.#message(message, index)));
    this.#find("#chat-empty").hidden = this.#messages.length > 0;
    this.#find("#chat-earlier").hidden = this.#earlier === 0;
    this.#find("#chat-earlier").textContent = `${this.#earlier} earlier messages are not shown`;
    this.#showRun();
  }

  #showSessions() {
    const options = [element("option", { value: NEW }, "New conversation")];
    options.push(...this.#sessions.map(({ id, title }) => element("option", { value: id }, title ?? "Without a title")));
    this.#find("#chat-sessions").replaceChildren(...options);
    this.#find("#chat-sessions").value = this.#session?.id ?? NEW;
  }

  #showRun() {
    const run = this.#run;
    const writing = this.#find("#writing");
    writing.hidden = !this.#isBusy && !run;
    writing.setAttribute("aria-busy", String(this.#isBusy));
    writing.querySelector(".text").textContent = run?.text ?? "";
    writing.querySelector(".doing").textContent = doing(run);
    const calls = run?.action?.calls ?? [];
    writing.querySelector(".actions").replaceChildren(...calls.map((call) => this.#asked(call)));
    this.#find("#stop").hidden = !this.#isBusy;
    this.#find("#say [type=submit]").hidden = this.#isBusy;
    this.#find("#say [type=submit]").disabled = this.#isSending;
    this.#find("#editing").hidden = this.#edited === null;
  }

  #message(message, index) {
    const { id, role, text, attachments, citations } = message;
    const parts = [element("p", { className: "text" }, ...citing(text, citations, `cited-${id}`))];
    parts.push(...attachments.map(({ name }) => element("p", { className: "hint" }, `With ${name}`)));
    parts.push(...citationsOf(citations, `cited-${id}`), this.#tools(message, index));
    return element("li", { className: "message", data: { role, id } }, element("span", { className: "who" }, WHO[role]), ...parts);
  }

  /** What can be done with a message: other branches, once more, otherwise. */
  #tools({ id, role, parent_id: parent, text, siblings }, index) {
    const tools = [];
    const place = siblings.indexOf(id);
    if (siblings.length > 1) {
      tools.push(this.#button("‹", "The branch before", () => this.#branch(siblings[place - 1]), place === 0));
      tools.push(element("span", { className: "branch" }, `${place + 1} of ${siblings.length}`));
      tools.push(this.#button("›", "The next branch", () => this.#branch(siblings[place + 1]), place === siblings.length - 1));
    }
    if (role === "user") tools.push(this.#button("Edit", "Send it otherwise", () => this.#edit({ parent, text })));
    if (role === "assistant") tools.push(this.#button("Try again", "Another answer", () => this.#do(`messages/${parent}/retry`)));
    else if (index === this.#messages.length - 1)
      tools.push(this.#button("Try again", "Have it answered", () => this.#do(`messages/${id}/retry`)));
    return element("div", { className: "tools" }, ...tools);
  }

  #button(text, title, onclick, disabled = false) {
    return element("button", { type: "button", className: "quiet", title, onclick, disabled, ariaLabel: title }, text);
  }

  /** A call that waits for a person. */
  #asked({ call_id: id, name, arguments: given, needs }) {
    const said = [element("p", {}, `${name} ${JSON.stringify(given)}`)];
    if (needs === "approval") {
      said.push(this.#button("Allow", `Let ${name} be called`, () => this.#approve(id, true)));
      said.push(this.#button("Refuse", `Do not let ${name} be called`, () => this.#approve(id, false)));
    } else said.push(element("p", { className: "hint" }, "Waits for the program that this tool belongs to"));
    return element("div", { className: "asked" }, ...said);
  }

  // What a person does

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#find("#say").requestSubmit();
  }

  #edit(message) {
    this.#edited = message;
    this.#once = null;
    this.#text.value = message?.text ?? "";
    this.#text.focus();
    this.#showRun();
  }

  async #submit(event) {
    event.preventDefault();
    // Who is quicker than the list of conversations talks in the one that is opened then.
    await this.#opening;
    const text = this.#text.value.trim();
    if (!text || this.#isBusy || this.#isSending) return;
    this.#once ??= randomName();
    const once = this.#once;
    const body = this.#edited ? { text, parent_id: this.#edited.parent } : { text };
    await this.#try(async () => {
      if (this.#session === null) await this.#begin(once);
      await this.#rest.say(this.#agent, this.#session.id, "messages", body, once);
      this.#edit(null);
    });
  }

  async #begin(once) {
    const { signal } = this.#life;
    const made = await this.#rest.begin(this.#agent, `${once}-session`);
    if (signal.aborted) return;
    this.#sessions = [made, ...this.#sessions];
    this.#session = made;
    tab.talk(this.#agent, made.id);
    this.#rooms.join(this.#room);
  }

  #branch(head) {
    this.#try(() => this.#rest.change(this.#agent, this.#session.id, { head_id: head }));
  }

  #do(what) {
    this.#try(() => this.#rest.say(this.#agent, this.#session.id, what, null));
  }

  #approve(id, approved) {
    this.#try(() => this.#rest.answer(this.#run.id, [{ call_id: id, approved }]));
  }

  /** Do something, and say where it was refused. */
  async #try(act) {
    const { signal } = this.#life;
    this.#isSending = true;
    this.#say("");
    try {
      await act();
    } catch (failure) {
      if (!signal.aborted) this.#problem(failure);
    }
    if (signal.aborted) return;
    this.#isSending = false;
    this.#showRun();
    this.readAgain();
  }

  #problem(failure) {
    this.#say(failure.details?.[0]?.message ?? failure.message, "bad");
  }

  #say(text, tone = "") {
    const message = this.#find("#chat-message");
    message.textContent = text;
    message.dataset.tone = tone;
  }
}

const WHO = { user: "You", assistant: "Agent" };

function doing(run) {
  if (run?.status === "requires_action") return "Waits for your answer";
  if (run?.tool) return `Uses ${run.tool}`;
  return run?.text ? "" : "Thinks";
}

function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
