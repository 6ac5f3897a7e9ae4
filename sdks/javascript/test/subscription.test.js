/** Readers by a loop that are behind, on a socket in the test's hand. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Live } from "../live/index.js";
import { MOST_WAITING } from "../live/subscription.js";

/** A client that is live on a socket whose other end is here: `say` has a frame come, `told` returns frames that it sent. */
async function served() {
  let socket;
  const sent = [];
  class Socket {
    constructor() {
      socket = this;
    }
    send(text) {
      sent.push(JSON.parse(text));
    }
    close() {}
  }
  const live = new Live({ url: "http://hub.test", apiKey: "key", WebSocket: Socket }).open();
  const say = (frame) => socket.onmessage({ data: JSON.stringify(frame) });
  await new Promise(setImmediate);
  socket.onopen();
  say({ type: "welcome", id: 1 });
  return { live, say, told: (type) => sent.filter((frame) => frame.type === type) };
}

test("a channel that is taken away from a reader that is behind is held again for the next one", async (t) => {
  const { live, say, told } = await served();
  t.after(() => live.close());
  let offset = 0;
  const joined = () => {
    const { id } = told("subscribe").at(-1);
    say({ type: "subscribed", id, channels: [{ channel: "agents", offset: `${offset}`, epoch: "k1", recovered: false }] });
  };
  const flood = () => {
    for (let left = MOST_WAITING; left; left--) say({ type: "event", channel: "agents", offset: `${++offset}`, event: { type: "agent.updated" } });
  };
  const first = live.subscribe("agents");
  joined();
  flood();
  assert.equal(told("unsubscribe").length, 1);
  say({ type: "unsubscribed", channels: ["agents"], error: { code: "FORBIDDEN", message: "Not yours any more" } });
  const seen = [];
  await assert.rejects(async () => {
    for await (const { offset } of first) seen.push(offset);
  }, { code: "FORBIDDEN" });
  assert.equal(seen.length, MOST_WAITING);

  live.subscribe("agents");
  joined();
  flood();
  assert.equal(told("unsubscribe").length, 2);
});
