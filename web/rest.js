/** What the page asks of REST. The key travels in the header only, never in an address. */

/** A refusal, with the error object of the hub; `status` is 0 where no answer came. */
export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.details = error.details ?? [];
  }
}

export class Rest {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** Return the newest resources of a kind, at most 100: `{data, pagination}`. Raises Refused. */
  list(kind, signal) {
    return this.#ask("GET", `/v2/${kind}?per_page=100`, { signal });
  }

  /** Return one resource by its event's subject, such as `agents/<id>`. Raises Refused. */
  get(subject, signal) {
    return this.#ask("GET", `/v2/${subject}`, { signal });
  }

  /** Create a resource; the same `once` never creates two. Raises Refused. */
  create(kind, body, once) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": once };
    return this.#ask("POST", `/v2/${kind}`, { headers, body: JSON.stringify(body) });
  }

  /** Return the newest documents of a base, at most 100: `{data, pagination}`. Raises Refused. */
  documents(base, signal) {
    return this.#ask("GET", `/v2/knowledge/${base}/documents?per_page=100`, { signal });
  }

  /** Upload files into a base; returns their documents: `{data}`. Raises Refused. */
  upload(base, files, signal) {
    const body = new FormData();
    for (const file of files) body.append("file", file, file.webkitRelativePath || file.name);
    return this.#ask("POST", `/v2/knowledge/${base}/documents`, { body, signal });
  }

  /** Ask a base for an answer with its sources. Raises Refused. */
  query(base, question, signal) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ question, max_results: 5, mode: "answer" });
    return this.#ask("POST", `/v2/knowledge/${base}/query`, { headers, body, signal });
  }

  /** Return an agent's sessions, those that were used last, at most 100: `{data, pagination}`. Raises Refused. */
  sessions(agent, signal) {
    return this.#ask("GET", `/v2/agents/${agent}/sessions?per_page=100`, { signal });
  }

  /** Return one session. Raises Refused. */
  session(agent, id, signal) {
    return this.#ask("GET", `/v2/agents/${agent}/sessions/${id}`, { signal });
  }

  /** Begin a session; the same `once` never begins two. Raises Refused. */
  begin(agent, once) {
    return this.#send("POST", `/v2/agents/${agent}/sessions`, {}, { "Idempotency-Key": once });
  }

  /** Change a session. Raises Refused. */
  change(agent, id, fields) {
    return this.#send("PATCH", `/v2/agents/${agent}/sessions/${id}`, fields);
  }

  /** Return 20 of the messages that a session shows: `{data, pagination}`. Raises Refused. */
  messages(agent, session, page, signal) {
    return this.#ask("GET", `/v2/agents/${agent}/sessions/${session}/messages?per_page=20&page=${page}`, { signal });
  }

  /** Send a message, or do something with one (`messages/<id>/retry`) or with the session (`cancel`). Raises Refused. */
  say(agent, session, what, body, once) {
    const headers = { Prefer: "respond-async", ...(once && { "Idempotency-Key": once }) };
    return this.#send("POST", `/v2/agents/${agent}/sessions/${session}/${what}`, body, headers);
  }

  /** Answer what an execution waits for. Raises Refused. */
  answer(execution, results) {
    return this.#send("POST", `/v2/executions/${execution}/answers`, { results }, { Prefer: "respond-async" });
  }

  #send(method, path, body, headers = {}) {
    const sent = body === null ? {} : { body: JSON.stringify(body) };
    return this.#ask(method, path, { headers: { ...headers, ...(body !== null && { "Content-Type": "application/json" }) }, ...sent });
  }

  async #ask(method, path, { headers, ...options }) {
    const answer = await this.#fetch(path, {
      method,
      headers: { ...headers, Authorization: `Bearer ${this.#key}` },
      cache: "no-store",
      ...options,
    });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    throw new Refused(answer.status, body.error ?? { message: `The hub answered ${answer.status}` });
  }

  async #fetch(path, options) {
    try {
      return await fetch(path, options);
    } catch (failure) {
      if (failure.name === "AbortError") throw failure;
      throw new Refused(0, { message: "The hub does not answer" });
    }
  }
}
