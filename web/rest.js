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
