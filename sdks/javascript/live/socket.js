/** A WebSocket as a connection of the client: JSON frames in, JSON frames out. */

/** Open one. `on` hears `opened()`, `frame(frame)` and, once, `closed({code, reason})`; returns how to send, and to end it silently. */
export function openSocket(url, WebSocket, on) {
  const socket = new WebSocket(url, "aimatrix.json");
  let hasEnded = false;
  const drop = () => {
    hasEnded = true;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    socket.close(1000);
  };
  socket.onopen = () => on.opened();
  socket.onmessage = ({ data }) => {
    const frame = parsed(data);
    if (frame) on.frame(frame);
    else end({ reason: "not a hub" });
  };
  const end = ({ code = 1006, reason = "" }) => {
    if (hasEnded) return;
    drop();
    on.closed({ code, reason });
  };
  socket.onclose = end;
  // The close follows, but in Node 20, where a socket that could not be opened ends with the error.
  socket.onerror = () => setTimeout(end, 0, {});
  return { send: (frame) => socket.send(JSON.stringify(frame)), drop };
}

/** Return the frame, or nothing where the text is none. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
