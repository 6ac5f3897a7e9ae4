/**
 * A client of the stream as docs/protocol.md describes one under "Write your own client", and nothing else: the SDK is compared with it.
 */

const AWAY = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const comesBack = (code) => (code < 3000 ? !AWAY.includes(code) : code % 1000 < 500);
const OF_THE_LOG = /^(agents|knowledge|twins|events)(:|$)/;

window.bareClient = function (url, key, wanted, onEvent, onReset) {
  const places = {};
  let failures = 0;
  const connect = () => {
    const socket = new WebSocket(url, "aimatrix.json");
    let after = null;
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, type: "authenticate", token: key }));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === "welcome") {
        socket.send(JSON.stringify({ id: 2, type: "subscribe", channels: wanted.map((channel) => ({ channel, ...places[channel] })) }));
      } else if (frame.type === "subscribed") {
        failures = 0;
        for (const { channel, offset, epoch, error } of frame.channels) if (!error) places[channel] = { offset, epoch };
      } else if (frame.type === "event" && places[frame.channel]) {
        onEvent(frame);
        places[frame.channel] = { ...places[frame.channel], offset: frame.offset };
      } else if (frame.type === "reset") {
        places[frame.channel] = { offset: frame.offset, epoch: frame.epoch };
        onReset(frame);
      } else if (frame.type === "position" || frame.position) {
        const { offset, epoch } = frame.position ?? frame;
        for (const [channel, place] of Object.entries(places)) {
          if (OF_THE_LOG.test(channel) && place.epoch === epoch && BigInt(offset) > BigInt(place.offset)) place.offset = offset;
        }
      } else if (frame.type === "disconnect") after = frame.after_ms;
    };
    socket.onclose = ({ code }) => {
      if (!comesBack(code)) return;
      setTimeout(connect, after ?? Math.random() * Math.min(30_000, 500 * 2 ** failures++));
    };
  };
  connect();
};
