/** The numbers and small rules of a client of the stream, as docs/clients.md has them. */

export const CONNECT_MS = 20_000;
export const JOIN_MS = 60_000;
export const PING_MS = 25_000;
export const PONG_MS = 10_000;
/** The answer to a ping after sleep, or a change of the network: whoever waits sits before the screen. */
export const QUICK_PONG_MS = 5_000;
/** A timer that comes later than this by so much was asleep with its machine. */
export const ASLEEP_MS = 5_000;
/** A connection that was live for less did not help: the next pause is longer. */
export const SETTLED_MS = 10_000;
/** Between two attempts, however often a network comes and goes. */
export const SPACING_MS = 1_000;
export const FIRST_PAUSE_MS = 500;
export const LONGEST_PAUSE_MS = 30_000;
/** What a hub may ask a client to wait. */
export const LONGEST_SLOT_MS = 3_600_000;
export const RENEW_MS = 10_000;
export const SOCKET_FAILURES = 3;
export const SOCKET_AGAIN_MS = 60_000;
export const SOCKET_AGAIN_MOST_MS = 600_000;
export const MOST_CHANNELS_A_FRAME = 128;
export const MOST_REQUESTS = 1_000;

// Below 3000 the standard fixed the meaning, not a range: after these the same attempt would fail again.
const STAYS_AWAY = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);
const PASSING = new Set(["SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "TIMEOUT", "BAD_GATEWAY", "RATE_LIMIT_EXCEEDED"]);
const CREDENTIAL_CODES = new Set([4501, 4503]);

/** Tell whether a client that saw this close code connects again by itself; holds for codes that it does not know. */
export function comesBack(code) {
  return code < 3000 ? !STAYS_AWAY.has(code) : code % 1000 < 500;
}

/** Tell whether a close code is about the credential. */
export function isOfCredential(code) {
  return CREDENTIAL_CODES.has(code);
}

/** Tell whether a refusal passes by itself. */
export function passes(error) {
  return PASSING.has(error.code);
}

/** Return how long to wait after so many failures; `draw` is 0 to 1, so that no two clients come at once. */
export function pause(failures, draw) {
  return Math.floor(draw * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 16)));
}

/** Compare two offsets of one epoch: decimal strings, which may exceed what a number holds. */
export function isAfter(offset, other) {
  return offset.length === other.length ? offset > other : offset.length > other.length;
}

/** Tell whether an event stands where its channel is already and says what was so far: it is no repeat. */
export function isBeginning(type) {
  return type.endsWith(".snapshot") || type === "twin.telemetry";
}
