/** The live part of the AIMatrix SDK: channels of a hub as they happen. What a client promises stands in docs/clients.md. */

/** A place in a channel: offsets of two epochs are never compared. Keep it, and go on from there with a later `subscribe`. */
export interface Place {
  offset: string;
  epoch: string;
}

export interface Envelope<Data = unknown> {
  id: string;
  type: string;
  source: string;
  subject: string;
  time: string;
  data: Data;
}

/** An event of a channel, once, in order. `delivery` and `attempt` are of durable subscriptions. */
export interface EventFrame<Data = unknown> {
  type: "event";
  channel: string;
  offset: string;
  epoch?: string;
  event: Envelope<Data>;
  delivery?: string;
  attempt?: number;
}

/** What is known of the channel may be out of date: read its state again. Events that follow are newer than this place. */
export interface ResetFrame extends Place {
  type: "reset";
  channel: string;
  reason: "epoch" | "offset" | "history" | (string & {});
}

/** Another frame of the channel, such as `presence` or `subscription`. */
export interface OtherFrame {
  type: string;
  channel: string;
  [member: string]: unknown;
}

/** How the hub answered for a channel; each return brings another. */
export interface Joined extends Partial<Place> {
  channel: string;
  recovered?: boolean;
  [member: string]: unknown;
}

export interface HubError {
  code: string;
  message: string;
  details?: unknown[];
  request_id?: string;
}

/** A refusal: a code of docs/errors.md, or of the client itself CLOSED, CONNECTION_LOST, TIMED_OUT, BUFFER_FULL, STOPPED. */
export class LiveError extends Error {
  code: string;
  details?: unknown[];
  request_id?: string;
}

export interface State {
  state: "stopped" | "connecting" | "joining" | "live" | "waiting";
  /** Of `waiting` and `stopped`. */
  why?: string;
  /** Of `waiting`: how long until the next attempt. */
  in_ms?: number;
  /** Of `stopped`: it is the credential. */
  credential?: boolean;
  code?: number;
  status?: number;
}

export interface ChannelOptions<Data = unknown> {
  /** Take each event here. Without it the subscription is read by `for await`, which holds the hub up where the reader is behind. */
  onEvent?: (frame: EventFrame<Data>) => void;
  onReset?: (frame: ResetFrame) => void;
  onFrame?: (frame: OtherFrame) => void;
  onJoined?: (answer: Joined) => void;
  /** Where it is not final, the client asks again by itself. */
  onRefused?: (error: HubError, final: boolean, channel: string) => void;
  /** The credential lost the channel. */
  onLeft?: (error: HubError, channel: string) => void;
  offset?: string;
  epoch?: string;
  since?: string;
  after_event?: string;
  filter?: unknown;
  presence?: boolean;
  max_in_flight?: number;
  [member: string]: unknown;
}

export class Subscription<Data = unknown> implements AsyncIterable<EventFrame<Data> | ResetFrame | OtherFrame> {
  private constructor();
  readonly channel: string;
  /** The hub's first answer; rejects with a LiveError where it refuses the channel for good. */
  readonly ready: Promise<Joined>;
  /** The place after what was handed out. */
  readonly place: Place | null;
  /** Leave the channel; what waits is dropped, and a loop over it ends. */
  close(): void;
  /** Frames in order; one loop at a time. It throws a LiveError where the channel, or the client, is stopped for good. */
  [Symbol.asyncIterator](): AsyncIterator<EventFrame<Data> | ResetFrame | OtherFrame>;
}

export interface LiveOptions {
  /** The hub's address; that of the page where none is given. */
  url?: string | URL;
  apiKey?: string;
  /** Answer a key or token, now or later. Asked when one is needed: at first, when the former was refused or has expired, in time before it does. */
  credential?: (why: "connect" | "refused" | "expired" | "expiring") => string | Promise<string>;
  /** Server-sent events where sockets do not come through. True where nothing is said. */
  fallback?: boolean;
  onState?: (state: State) => void;
  /** What the hub says to nothing in particular. */
  onWarning?: (error: HubError) => void;
  /** Those of the platform where none are given. */
  WebSocket?: new (url: URL, protocol: string) => any;
  fetch?: typeof fetch;
  /** 0 to 1. */
  random?: () => number;
}

export interface RequestOptions {
  /** 30 s where nothing is said. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** One connection that comes back by itself, and all channels on it. */
export class Live {
  constructor(options?: LiveOptions);
  readonly state: State["state"];
  /** What the hub said of this connection: `connection`, `subject`, `org_id`, ... */
  readonly welcome: Record<string, unknown> | null;
  /** Connect, also when the next attempt is not due yet. Does nothing while it is connected. */
  open(): this;
  /** End: channels are left, loops over them end, requests are refused with CLOSED. Nothing of it keeps a program running. */
  close(): void;
  /** Find out now whether the connection still holds. Pages need not: sleep, network and visibility are seen. */
  check(): void;
  subscribe<Data = unknown>(channel: string, options?: ChannelOptions<Data>): Subscription<Data>;
  /** In one frame: they catch up in one order. */
  subscribeAll<Data = unknown>(channels: string[], options?: ChannelOptions<Data>): Subscription<Data>[];
  /** With `ephemeral` it is for those who are there now, as a `signal` (`onFrame`): nobody keeps it, and it has no place. */
  publish(
    channel: string,
    data: unknown,
    options?: RequestOptions & { ephemeral?: boolean },
  ): Promise<{ offset: string; epoch: string; event_id: string }>;
  history(channel: string, asked?: Record<string, unknown>, options?: RequestOptions): Promise<any>;
  presence(channel: string, asked?: Record<string, unknown>, options?: RequestOptions): Promise<any>;
  /** With an `idempotencyKey` it is sent again after a loss, and happens once. */
  call(operation: string, input?: object, options?: RequestOptions & { idempotencyKey?: string }): Promise<any>;
  /** Send a frame that is answered by `result`, such as `message`, `cancel`, `ack`. */
  request(frame: object, options?: RequestOptions): Promise<any>;
}

/** Tell whether a client that saw this close code connects again by itself. */
export function comesBack(code: number): boolean;
/** Compare two offsets of one epoch. */
export function isAfter(offset: string, other: string): boolean;
