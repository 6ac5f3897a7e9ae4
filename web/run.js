/** A run as a reader of its room has it (docs/protocol.md): one coherent text, whatever comes late or twice. No DOM in here. */

const ENDS = new Set(["run.completed", "run.failed", "run.cancelled"]);
const WHOLE = new Set(["run.snapshot", "run.restarted", "run.resumed"]);

export class Run {
  id;
  text = "";
  status = "queued";
  /** What it waits for. */
  action = null;
  /** The tool that works now. */
  tool = "";
  error = null;
  #attempt = 0;
  #sequence = 0;

  constructor(id) {
    this.id = id;
  }

  get hasEnded() {
    return ["completed", "failed", "cancelled"].includes(this.status);
  }

  /** Take in an event of this run; returns whether anything is to be shown anew. */
  apply(type, data) {
    const { attempt, sequence = 0 } = data;
    if (this.hasEnded || attempt < this.#attempt) return false;
    if (WHOLE.has(type)) return this.#whole(data);
    if (type === "run.started") return this.#started(attempt);
    if (type === "run.delta") return this.#delta(attempt, sequence, data.text);
    if (type === "run.step") return this.#step(data.step ?? {});
    if (type === "run.requires_action") return this.#set({ status: "requires_action", action: data.action, tool: "" });
    if (ENDS.has(type)) return this.#set({ status: data.status, error: data.error ?? null, action: null, tool: "" });
    return false; // of a newer hub
  }

  #started(attempt) {
    if (attempt > this.#attempt) this.#set({ text: "" }, attempt, 0);
    return this.#set({ status: "running" });
  }

  #whole({ attempt, sequence, text, status = "running", action = null }) {
    if (attempt === this.#attempt && sequence < this.#sequence) return false;
    return this.#set({ text, status, action, tool: "" }, attempt, sequence);
  }

  #delta(attempt, sequence, text) {
    if (attempt !== this.#attempt || sequence !== this.#sequence + 1) return false;
    return this.#set({ text: this.text + text, status: "running", tool: "" }, attempt, sequence);
  }

  #step({ kind, name, status }) {
    return this.#set({ tool: kind === "tool" && status === "running" ? name : "" });
  }

  #set(fields, attempt = this.#attempt, sequence = this.#sequence) {
    Object.assign(this, fields);
    this.#attempt = attempt;
    this.#sequence = sequence;
    return true;
  }
}
