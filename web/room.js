/** A room in which people talk to each other: what was said, who is here, who types. */

import { element, oncePerFrame } from "./dom.js";
import { clock } from "./feed.js";
import { Members } from "./live/members.js";
import { tab } from "./tab.js";

const MOST_SHOWN = 100;
// Who types says so again after a while, and is forgotten a moment later.
const TYPING_MS = 2_000;
const TYPED_MS = 4_000;

export class Room {
  #root;
  #live = null;
  #name = null;
  #members = null;
  /** @type {Map<string, object>} what was said, by the id of its event; those that are gone too, so that they do not come back */
  #said = new Map();
  /** @type {Map<string, number>} until when somebody is said to type */
  #typing = new Map();
  #typedAt = 0;
  #forgetting = null;
  #draw = oncePerFrame(() => this.#drawSaid());

  constructor(root) {
    this.#root = root;
    this.#find("#room-enter").addEventListener("submit", (event) => this.#given(event));
    this.#find("#room-leave").addEventListener("click", () => this.#leave());
    this.#find("#room-say").addEventListener("submit", (event) => this.#say(event));
    this.#find("#room-say input").addEventListener("input", () => this.#type());
  }

  /** Take a connection, and enter the room in which this tab was before it was reloaded. */
  begin(live) {
    this.#live = live;
    if (tab.room) this.#enter(tab.room);
  }

  /** Show none. */
  end() {
    this.#forget();
    this.#live = null;
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  get #channel() {
    return `chat:${this.#name}`;
  }

  #given(event) {
    event.preventDefault();
    this.#enter(event.target.elements.room.value.trim());
  }

  #enter(name) {
    this.#forget();
    this.#name = name;
    tab.enter(name);
    this.#find("#room-title").textContent = name;
    this.#find("#room-inside").hidden = this.#find("#room-leave").hidden = false;
    this.#find("#room-enter").hidden = true;
    const ifHere = (act) => (told) => this.#name === name && act(told);
    this.#members = new Members(this.#live, this.#channel, ifHere((all) => this.#drawMembers(all)), {
      onEvent: ifHere(({ event }) => this.#heard(event)),
      onFrame: ifHere((frame) => frame.type === "signal" && this.#types(frame.event)),
      onJoined: ifHere(() => this.#read(name)),
      onReset: ifHere(() => this.#read(name)),
      onRefused: ifHere(({ message }) => this.#problem(message)),
      onLeft: ifHere(({ message }) => this.#problem(message)),
    });
  }

  #leave() {
    tab.goOut();
    this.#forget();
    this.#find("#room-enter input").focus();
  }

  #forget() {
    this.#members?.close();
    this.#members = this.#name = null;
    this.#said.clear();
    this.#typing.clear();
    clearTimeout(this.#forgetting);
    this.#find("#room-title").textContent = "Talk to each other";
    this.#find("#room-inside").hidden = this.#find("#room-leave").hidden = true;
    this.#find("#room-enter").hidden = false;
    this.#find("#room-members").replaceChildren();
    this.#find("#room-typing").textContent = "";
    this.#problem("");
    this.#drawSaid();
  }

  #problem(text) {
    this.#find("#room-message").textContent = text;
  }

  /** What was said before, and what was changed while nobody looked. */
  async #read(name) {
    try {
      const { events } = await this.#live.history(`chat:${name}`, { limit: MOST_SHOWN });
      if (this.#name !== name) return;
      for (const { event } of events) this.#heard(event);
      this.#problem("");
    } catch (failure) {
      if (this.#name === name) this.#problem(failure.message);
    }
  }

  #heard({ id, type, source, time, data, deleted = false }) {
    if (type === "chat.message") this.#put({ id, source, time, text: textOf(data), deleted });
    const known = this.#said.get(data?.id);
    if (type === "chat.edited" && known) this.#put({ ...known, text: textOf(data.data) });
    if (type === "chat.deleted" && known) this.#put({ ...known, deleted: true });
    this.#typing.delete(source);
    this.#drawTyping();
  }

  #put(said) {
    const isGone = this.#said.get(said.id)?.deleted;
    this.#said.set(said.id, isGone ? { ...said, deleted: true } : said);
    this.#draw();
  }

  async #say(event) {
    event.preventDefault();
    const input = event.target.elements.text;
    const text = input.value;
    input.value = "";
    try {
      await this.#live.publish(this.#channel, { text });
      this.#problem("");
    } catch (failure) {
      input.value ||= text;
      this.#problem(failure.message);
    }
  }

  async #remove(id) {
    try {
      await this.#live.call("chats.delete", { id: this.#name, message: id });
    } catch (failure) {
      this.#problem(failure.message);
    }
  }

  #type() {
    if (Date.now() - this.#typedAt < TYPING_MS) return;
    this.#typedAt = Date.now();
    this.#live.publish(this.#channel, { typing: true }, { ephemeral: true }).catch(() => {}); // nobody misses it
  }

  #types({ source }) {
    if (source === this.#me) return;
    this.#typing.set(source, Date.now() + TYPED_MS);
    this.#drawTyping();
    clearTimeout(this.#forgetting);
    this.#forgetting = setTimeout(() => this.#drawTyping(), TYPED_MS + 50);
  }

  get #me() {
    return this.#live?.welcome?.subject;
  }

  // What is shown

  #drawTyping() {
    const now = Date.now();
    const who = [...this.#typing].filter(([, until]) => until > now).map(([subject]) => subject);
    this.#find("#room-typing").textContent = who.length ? `${who.join(", ")} ${who.length > 1 ? "type" : "types"} …` : "";
  }

  #drawMembers(members) {
    const lines = members.map(({ subject }) => element("li", { title: subject }, subject === this.#me ? "You" : subject));
    this.#find("#room-members").replaceChildren(...lines);
  }

  #drawSaid() {
    // Ids are made in the order of time.
    const said = [...this.#said.values()].filter(({ deleted }) => !deleted).sort((a, b) => (a.id < b.id ? -1 : 1));
    this.#find("#room-said").replaceChildren(...said.slice(-MOST_SHOWN).map((each) => this.#line(each)));
  }

  #line({ id, source, time, text }) {
    const isMine = source === this.#me;
    const line = element(
      "li",
      { data: { mine: isMine } },
      element("time", { dateTime: time }, clock(new Date(time))),
      element("span", { className: "who", title: source }, isMine ? "You" : source),
      element("span", { className: "text" }, text),
    );
    if (isMine) {
      const remove = element("button", { type: "button", className: "quiet" }, "Remove");
      remove.addEventListener("click", () => this.#remove(id));
      line.append(remove);
    }
    return line;
  }
}

/** What a message says: its `text`, as this page sends it, or whatever else another program has published. */
function textOf(data) {
  return typeof data?.text === "string" ? data.text : JSON.stringify(data);
}
