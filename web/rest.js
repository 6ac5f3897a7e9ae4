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

  /** Return how far what a twin shall be is from what it is. Raises Refused. */
  difference(twin, signal) {
    return this.#ask("GET", `/v2/twins/${twin}/difference`, { signal });
  }

  /** Return the rules of a twin and where they stand: `{data}`. Raises Refused. */
  alerts(twin, signal) {
    return this.#ask("GET", `/v2/twins/${twin}/alerts?per_page=100`, { signal });
  }

  /** Return what a twin has measured in the last hour, ten seconds a step: `{series}`. Raises Refused. */
  telemetry(twin, signal) {
    return this.#ask("GET", `/v2/twins/${twin}/telemetry?points=361`, { signal });
  }

  /** Return what can be simulated of a twin: `{data}`. Raises Refused. */
  scenarios(twin, signal) {
    return this.#ask("GET", `/v2/twins/${twin}/scenarios?per_page=100`, { signal });
  }

  /** Return the newest simulations of a twin, at most 20: `{data}`. Raises Refused. */
  simulations(twin, signal) {
    return this.#ask("GET", `/v2/twins/${twin}/simulations?per_page=20`, { signal });
  }

  /** Begin a simulation; the same `once` never begins two. Raises Refused. */
  simulate(twin, body, once) {
    return this.#send("POST", `/v2/twins/${twin}/simulate`, body, { Prefer: "respond-async", "Idempotency-Key": once });
  }

  /** End a simulation. Raises Refused. */
  cancel(simulation) {
    return this.#send("POST", `/v2/simulations/${simulation}/cancel`, null);
  }

  /** Return a simulation with its series. Raises Refused. */
  simulation(id, signal) {
    return this.#ask("GET", `/v2/simulations/${id}`, { signal });
  }

  /** Return the drawing of a simulation, as a Blob; `indicator` "": what has changed most. Raises Refused. */
  async plot(simulation, indicator, signal) {
    const options = { headers: { Accept: "image/svg+xml" }, signal };
    const query = indicator ? `?indicator=${encodeURIComponent(indicator)}` : "";
    return (await this.#answer("GET", `/v2/simulations/${simulation}/plot${query}`, options)).blob();
  }

  #send(method, path, body, headers = {}) {
    const sent = body === null ? {} : { body: JSON.stringify(body) };
    return this.#ask(method, path, { headers: { ...headers, ...(body !== null && { "Content-Type": "application/json" }) }, ...sent });
  }

  async #ask(method, path, options) {
    return (await this.#answer(method, path, options)).json().catch(() => ({}));
  }

  async #answer(method, path, { headers, ...options }) {
    const answer = await this.#fetch(path, {
      method,
      headers: { ...headers, Authorization: `Bearer ${this.#key}` },
      cache: "no-store",
      ...options,
    });
    if (answer.ok) return answer;
    const { error } = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, error ?? { message: `The hub answered ${answer.status}` });
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
