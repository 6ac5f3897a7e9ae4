/** The shared vectors of server-sent events (../../vectors/README.md) against the channels of this package. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Followed } from "../live/followed.js";

const { vectors } = JSON.parse(readFileSync(new URL("../../vectors/events/followed.json", import.meta.url), "utf8"));

for (const { name, steps } of vectors) test(name, () => run(steps));

function run(steps) {
  const followed = new Followed();
  for (const [number, { in: input, out, query, cursor }] of steps.entries()) {
    const where = `step ${number}: ${input.type}`;
    assert.deepEqual(JSON.parse(JSON.stringify(taken(followed, input))), out, where);
    if (query) assert.deepEqual(followed.query.map(([kind, value]) => (kind === "channel" ? value : JSON.parse(value))), query, where);
    if (cursor !== undefined) assert.equal(followed.cursor, cursor, where);
  }
}

function taken(followed, { type, channels, frame, cursor, error, id }) {
  switch (type) {
    case "subscribe": return followed.add({ id, channels });
    case "unsubscribe": channels.forEach((channel) => followed.remove(channel)); return [];
    case "message": return followed.take(frame, cursor);
    case "refused": return followed.refuse(error);
  }
}
