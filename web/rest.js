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
