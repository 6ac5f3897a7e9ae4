// Socket.IO with its Redis adapter, WebSocket only: `node socketio.js REDIS_URL`
import { createAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";
import { listen, newServer, redis } from "./serving.js";

const server = newServer();
const io = new Server(server, {
  adapter: createAdapter(await redis(), await redis()),
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
});

io.on("connection", (socket) => {
  socket.on("join", (room) => {
    socket.join(room);
    socket.emit("joined");
  });
});
listen(server);
