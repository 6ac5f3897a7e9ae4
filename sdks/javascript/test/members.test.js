/** The list of members, on a socket by script. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Live } from "../live/index.js";
import { Members } from "../live/members.js";

const member = (subject, data = null) => ({ subject, connections: 1, data });
const diff = (after, version, more) => ({ type: "presence", channel: "chat:a", after, version, epoch: "e", joined: [], left: [], updated: [], ...more });

/** A hub's end of sockets: answers the opening, keeps what else is asked. */
class ScriptedSocket {
  static all = [];
  asked = [];

  constructor() {
    ScriptedSocket.all.push(this);
    queueMicrotask(() => this.onopen());
  }

  send(text) {
    const frame = JSON.parse(text);
    if (frame.type === "authenticate") this.say({ type: "welcome", id: frame.id });
    else if (frame.type === "subscribe") {
      this.say({ type: "subscribed", id: frame.id, channels: frame.channels.map(({ channel }) => ({ channel, offset: "0", epoch: "r" })) });
    } else this.asked.push(frame);
  }

  say(frame) {
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(frame) }));
  }

  close() {}
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function opened(subjects, version = "5") {
  ScriptedSocket.all = [];
  const live = new Live({ url: "http://hub", apiKey: "k", WebSocket: ScriptedSocket, fallback: false }).open();
  const changes = [];
  const members = new Members(live, "chat:a", (all) => changes.push(all.map(({ subject }) => subject)));
  await settled();
  const [socket] = ScriptedSocket.all;
  const page = (list, at, next = null) => socket.say({ type: "presence", id: socket.asked.at(-1).id, version: at, epoch: "e", members: list.map((each) => member(each)), next });
  if (subjects) page(subjects, version);
  await settled();
  return { live, members, changes, socket, page };
}

test("frames go on from the list", async () => {
  const { live, members, changes, socket } = await opened(["ann", "bob"]);
  socket.say(diff("5", "6", { joined: [member("cid")], left: [{ subject: "ann" }] }));
  socket.say(diff("6", "7", { updated: [member("bob", { status: "away" })] }));
  await settled();
  assert.deepEqual(changes, [["ann", "bob"], ["bob", "cid"], ["bob", "cid"]]);
  assert.deepEqual(members.all[0].data, { status: "away" });
  live.close();
});

test("what came while the list was read is taken in after it, and what the list has is not", async () => {
  const { live, changes, socket, page } = await opened(null);
  socket.say(diff("4", "5", { joined: [member("bob")] }));
  socket.say(diff("5", "6", { joined: [member("cid")] }));
  await settled();
  page(["ann", "bob"], "5");
  await settled();
  assert.deepEqual(changes, [["ann", "bob", "cid"]]);
  live.close();
});

test("a gap has the list read again, page by page", async () => {
  const { live, changes, socket, page } = await opened(["ann"]);
  socket.say(diff("8", "9", { joined: [member("zoe")] }));
  await settled();
  page(["ann"], "9", "ann");
  await settled();
  assert.equal(socket.asked.at(-1).after, "ann");
  page(["zoe"], "9");
  await settled();
  assert.deepEqual(changes, [["ann"], ["ann", "zoe"]]);
  live.close();
});

test("frames that the list has already are dropped", async () => {
  const { live, changes, socket } = await opened(["ann"]);
  socket.say(diff("3", "4", { left: [{ subject: "ann" }] }));
  await settled();
  assert.equal(socket.asked.length, 1);
  assert.deepEqual(changes, [["ann"]]);
  live.close();
});
