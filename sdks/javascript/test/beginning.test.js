/** Where a channel begins, over server-sent events: what a poll may answer. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { EventsConnection } from "../live/events.js";

const passing = { error: { code: "SERVICE_UNAVAILABLE", message: "Not now" } };
const place = { channel: "agents", offset: "5", epoch: "k" };

/** Subscribe since a time at a hub whose polls answer so; returns the next request of a stream, or what is told first. */
async function begun(body) {
  const server = createServer((request, answer) => {
    if (request.url.startsWith("/v2/stream/poll")) answer.end(JSON.stringify(body));
    else if (request.url.startsWith("/v2/stream/events")) server.emit("stream", request.headers["last-event-id"]);
    else answer.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  let connection;
  try {
    return await new Promise((resolve) => {
      server.once("stream", resolve);
      const opened = () => connection.send({ type: "subscribe", id: 2, channels: [{ channel: "agents", since: "2026-01-01T00:00:00Z" }] });
      const url = `http://127.0.0.1:${server.address().port}/`;
      connection = new EventsConnection(url, fetch, { opened, frame: (frame) => frame.type === "subscribed" && resolve(frame), closed() {} });
    });
  } finally {
    connection.drop();
    server.closeAllConnections();
    server.close();
  }
}

for (const [name, frames] of [
  ["nothing", []],
  ["a disconnect", [{ type: "disconnect", code: 4000, reconnect: true }]],
  ["an error", [{ type: "error", ...passing }]],
  ["no channel", [{ type: "subscribed", channels: [] }]],
]) {
  test(`a poll that answers with ${name} has the channel asked for again`, async () => {
    const { id, channels } = await begun({ frames });
    assert.deepEqual([id, channels.length, channels[0].channel, channels[0].error.code], [2, 1, "agents", "SERVICE_UNAVAILABLE"]);
  });
}

test("what the hub refuses is told in its words", async () => {
  const error = { code: "VALIDATION_ERROR", message: "No time" };
  assert.deepEqual((await begun({ error })).channels, [{ channel: "agents", error }]);
  assert.deepEqual((await begun({ frames: [{ type: "subscribed", channels: [{ channel: "agents", error }] }] })).channels, [{ channel: "agents", error }]);
});

test("the place is taken from the frame that has it", async () => {
  assert.equal(await begun({ frames: [{ type: "event", channel: "agents" }, { type: "subscribed", channels: [place] }] }), "5.k");
});
