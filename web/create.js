/** The form that creates a resource, and the same as a line for a terminal. */

import { element } from "./dom.js";

const EXAMPLES = {
  agents: { name: "Customer Support Agent", type: "assistant" },
  knowledge: { name: "Product handbook", type: "documentation" },
  twins: { name: "Business Operations Twin", type: "erp_system" },
};

export class CreateForm {
  #form;
  #line;
  #message;
  #button;
  #rest = null;
  /** The idempotency key of this body: a repeat after a lost answer creates nothing twice. */
  #once = null;
  #isEdited = false;

  constructor(root) {
    this.#form = root.querySelector("form");
    this.#line = root.querySelector("#curl");
    this.#message = root.querySelector("#create-message");
    this.#button = this.#form.querySelector("button");
    this.#form.addEventListener("input", (event) => this.#changed(event.target));
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    root.querySelector("#copy").addEventListener("click", (event) => this.#copy(event.target));
    this.#suggest();
  }

  /** Create by this client from now on. */
  use(rest) {
    this.#rest = rest;
    this.#say("");
  }

  get #kind() {
    return this.#form.elements.kind.value;
  }

  get #body() {
    const { name, type } = this.#form.elements;
    return { name: name.value.trim(), type: type.value.trim() };
  }

  #changed({ name }) {
    if (name === "kind") this.#suggest();
    else this.#isEdited = true;
    this.#once = null;
    this.#showLine();
  }

  /** Fill in an example of the kind, but keep a name that somebody wrote. */
  #suggest() {
    const { name, type } = this.#form.elements;
    const example = EXAMPLES[this.#kind];
    if (!this.#isEdited) name.value = example.name;
    type.value = example.type;
    this.#showLine();
  }

  #showLine() {
    this.#line.replaceChildren(
      `curl ${location.origin}/v2/${this.#kind} \\\n  -H "Authorization: Bearer `,
      element("mark", { title: "Your key goes here" }, "$HUB_KEY"),
      `" \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(this.#body))}`,
    );
  }

  async #submit(event) {
    event.preventDefault();
    this.#button.disabled = true;
    this.#once ??= randomName();
    try {
      const { name } = await this.#rest.create(this.#kind, this.#body, this.#once);
      this.#say(`Created: ${name}`, "good");
      this.#once = null;
    } catch (refused) {
      const fields = refused.details.map(({ field, message }) => `${field}: ${message}`);
      this.#say([refused.message, ...fields].join(" · "), "bad");
    } finally {
      this.#button.disabled = false;
    }
  }

  #say(text, tone = "") {
    this.#message.textContent = text;
    this.#message.dataset.tone = tone;
  }

  async #copy(button) {
    try {
      await navigator.clipboard.writeText(this.#line.textContent);
      button.textContent = "Copied";
    } catch {
      // Pages without TLS have no clipboard: select the line for the reader's own keys.
      getSelection().selectAllChildren(this.#line);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  }
}

/** Quote for a POSIX shell: nothing inside is expanded. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function randomName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
