// The library `ws`, fed by node-redis: a Buffer as it comes from Redis goes to every member. `node ws.js REDIS_URL`
import { WebSocketServer } from "ws";
import { listen, newServer, redis } from "./serving.js";

const server = newServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false });
const rooms = new Map();

sockets.on("connection", (socket) => {
  socket.once("message", (data) => {
    const room = data.toString().replace("join ", "");
    if (!rooms.has(room)) rooms.set(room, new Set());
    const members = rooms.get(room);
    members.add(socket);
    socket.on("close", () => members.delete(socket));
    socket.send("joined");
  });
});

const subscriber = await redis();
await subscriber.pSubscribe(
  "room:*",
  (data, channel) => {
    const members = rooms.get(channel.toString().slice("room:".length)) ?? [];
    for (const socket of members) if (socket.readyState === 1) socket.send(data, { binary: false });
  },
  true,
);
listen(server);
