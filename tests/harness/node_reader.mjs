/**
 * A program on the SDK that does what its tests say, over stdin and stdout, a line of JSON each. Arguments: the address of the SDK's
 * module, and `{url, key, channels, loop, hurry, speed}`. `loop` reads by `for await`, where nothing goes on while it is paused; `hurry` makes pauses
 * short; so many seconds pass in one where there is a `speed`.
 */

import { createInterface } from "node:readline";

const [module, given] = process.argv.slice(2);
const { Live } = await import(module);
const { url, key, channels, loop = false, fallback = true, items = {}, hurry = false, speed = 1 } = JSON.parse(given);

const { now } = Date;
const wait = setTimeout;
const begun = now();
let slept = 0;
Date.now = () => begun + (now() - begun) * speed + slept;
if (speed !== 1) globalThis.setTimeout = (call, ms, ...more) => wait(call, ms / speed, ...more);

const tell = (told, more) => process.stdout.write(`${JSON.stringify({ told, ...more })}\n`);
let keys = [key];
const live = new Live({
  url,
  credential: (why) => {
    tell("asked", { why });
    return keys.length > 1 ? keys.shift() : keys[0];
  },
  fallback,
  random: hurry ? () => Math.random() / 50 : Math.random,
  onState: (state) => tell("state", state),
  onWarning: (error) => tell("warning", { error }),
});

let going = null;
let go = () => {};
const readers = new Map();

function join(channel, item = {}) {
  let epoch = "";
  const heard = {
    onJoined: (answer) => {
      epoch = answer.epoch;
      tell("joined", { item: answer });
    },
    onRefused: (error, final) => tell("refused", { channel, error, final }),
    onLeft: (error) => tell("left", { channel, error }),
    ...item,
  };
  const take = (frame) => {
    if (frame.type === "reset") epoch = frame.epoch;
    tell(frame.type, { frame: { ...frame, epoch: frame.epoch ?? epoch } });
  };
  if (!loop) Object.assign(heard, { onEvent: take, onReset: take, onFrame: take });
  const reader = live.subscribe(channel, heard);
  readers.set(channel, reader);
  if (loop) read(reader, take);
}

async function read(reader, take) {
  try {
    for await (const frame of reader) {
      take(frame);
      if (going) await going;
    }
    tell("ended", { channel: reader.channel });
  } catch (failure) {
    tell("failed", { channel: reader.channel, code: failure.code });
  }
}

const does = {
  sleep: ({ ms }) => (slept += ms),
  pause: () => (going = new Promise((resolve) => (go = resolve))),
  go: () => {
    going = null;
    go();
  },
  join: ({ channel, item }) => join(channel, item),
  leave: ({ channel }) => readers.get(channel).close(),
  check: () => live.check(),
  keys: ({ keys: more }) => (keys = more),
  open: () => live.open(),
  ask: async ({ frame, n, timeoutMs }) => {
    try {
      tell("answer", { n, result: await live.request(frame, { timeoutMs }) });
    } catch (failure) {
      tell("answer", { n, error: { code: failure.code, message: failure.message } });
    }
  },
  members: async ({ channel }) => {
    const { Members } = await import(new URL("./members.js", module));
    const subjects = (all) => all.map(({ subject, data }) => [subject, data]);
    new Members(live, channel, (all) => tell("members", { members: subjects(all) }));
  },
  places: ({ n }) => tell("answer", { n, result: Object.fromEntries([...readers].map(([name, { place }]) => [name, place])) }),
  close: () => {
    live.close();
    lines.close();
    process.stdin.unref?.();
  },
};

for (const channel of channels) join(channel, items[channel]);
live.open();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  does[command.do](command);
});
