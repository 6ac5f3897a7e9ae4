/**
 * A client that is measured: takes `count` events of a channel after a place, and says how long that took. Arguments: which
 * (`callback`, `loop` or `bare`), and `{url, key, channel, offset, epoch, count}`. One line of JSON comes out, see clients.py.
 */

import { Live } from "../sdks/javascript/live/index.js";

const [, , kind, given] = process.argv;
const { url, key, channel, offset, epoch, count } = JSON.parse(given);
let received = 0;
let wrong = 0;
let last = BigInt(offset);
let began = 0;
let cpu = null;

function take(frame) {
  if (!received) {
    began = performance.now();
    cpu = process.cpuUsage();
  }
  const at = BigInt(frame.offset);
  if (at !== last + 1n) wrong++;
  last = at;
  if (++received < count) return false;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  console.log(JSON.stringify({ received, wrong, seconds, cpu_seconds: (user + system) / 1e6 }));
  process.exit();
}

function bare() {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v2/stream`, "aimatrix.json");
  socket.onopen = () => {
    socket.send(JSON.stringify({ type: "authenticate", token: key }));
    socket.send(JSON.stringify({ type: "subscribe", channels: [{ channel, offset, epoch }] }));
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "event") take(frame);
  };
}

if (kind === "bare") bare();
else {
  const live = new Live({ url, apiKey: key }).open();
  if (kind === "callback") live.subscribe(channel, { offset, epoch, onEvent: take });
  else for await (const frame of live.subscribe(channel, { offset, epoch })) take(frame);
}
