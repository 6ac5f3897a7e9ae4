/** The page: asks for the key, connects, and hands what comes to its parts. */

import { Chat } from "./chat.js";
import { CreateForm } from "./create.js";
import { Feed } from "./feed.js";
import { Base } from "./knowledge.js";
import { Rest } from "./rest.js";
import { Room } from "./room.js";
import { KINDS, Session } from "./session.js";
import { tab } from "./tab.js";
import { Twin } from "./twin.js";

const byId = (id) => document.getElementById(id);

class Page {
  #feed = new Feed(byId("events"), byId("empty"), (offset) => tab.trim(offset));
  #base = new Base(byId("base"));
  #chat = new Chat(byId("chat"));
  #twin = new Twin(byId("twin"));
  #room = new Room(byId("room"));
  #form = new CreateForm(byId("create"));
  #session = null;
  #until = 0;

  start() {
    byId("gate-form").addEventListener("submit", (event) => this.#given(event));
    byId("change-key").addEventListener("click", () => this.#ask());
    byId("now").addEventListener("click", () => this.#session.open());
    setInterval(() => this.#countDown(), 250);
    if (matchMedia("(max-width: 60rem)").matches) KINDS.forEach((kind) => (byId(kind).open = false));
    if (tab.key) this.#begin(tab.key, "app");
    else this.#ask();
  }

  #given(event) {
    event.preventDefault();
    const key = byId("key").value.trim();
    if (key) this.#begin(key, "gate");
  }

  /** Connect with a key; `view` is what is seen until that has worked. */
  #begin(key, view) {
    this.#leave();
    const rest = new Rest(key);
    this.#form.use(rest);
    this.#show(view);
    const views = { base: this.#base, chat: this.#chat, twin: this.#twin, room: this.#room };
    this.#session = new Session(key, this.#feed, rest, views, (state) => this.#onState(state));
  }

  /** Ask for another key, and forget this one. */
  #ask(why = "") {
    this.#leave();
    tab.forget();
    this.#show("gate");
    this.#state("none", "");
    byId("gate-message").textContent = why;
    byId("open").disabled = false;
    byId("key").focus();
    byId("key").select();
  }

  #leave() {
    this.#session?.close();
    this.#session = null;
    this.#feed.clear();
  }

  #onState(state) {
    const act = {
      connecting: () => this.#state("connecting", "Connecting"),
      live: () => this.#live(),
      waiting: () => this.#state("waiting", "Reconnecting", state),
      ended: () => (state.isCredential ? this.#ask(state.why) : this.#state("ended", "Stopped", state)),
    };
    act[state.name]();
  }

  #live() {
    this.#state("live", "Live");
    byId("key").value = "";
    if (document.body.dataset.view === "app") return;
    this.#show("app");
    byId("main").focus();
  }

  #state(name, text, { why = "", until = 0 } = {}) {
    document.body.dataset.state = name;
    byId("state").textContent = text;
    byId("state").title = byId("why").textContent = why;
    byId("now").hidden = name !== "waiting" && name !== "ended";
    byId("open").disabled = name === "connecting";
    byId("gate-message").textContent = why ? `${text}: ${why}` : "";
    this.#until = until;
    this.#countDown();
  }

  #countDown() {
    const seconds = Math.ceil((this.#until - Date.now()) / 1000);
    byId("countdown").textContent = this.#until && seconds > 0 ? `in ${seconds} s` : "";
  }

  #show(view) {
    document.body.dataset.view = view;
    byId("gate").hidden = view !== "gate";
    byId("app").hidden = view !== "app";
    byId("change-key").hidden = view !== "app";
  }
}

new Page().start();
