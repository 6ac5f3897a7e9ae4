// What both peers on node have in common: they say where they serve, end with their parent, and have two connections to Redis.
import http from "node:http";
import { createClient } from "redis";

const REDIS_URL = process.argv[2];

export function listen(server) {
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
  server.listen({ host: "127.0.0.1", port: 0, backlog: 2048 }, () => {
    console.log(`serves on http://127.0.0.1:${server.address().port}`);
  });
}

export const newServer = () => http.createServer((_request, response) => response.end());

export async function redis() {
  const { protocol, pathname } = new URL(REDIS_URL);
  const client = createClient(protocol === "unix:" ? { socket: { path: decodeURIComponent(pathname) } } : { url: REDIS_URL });
  await client.connect();
  return client;
}
