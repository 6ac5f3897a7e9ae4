import type { ChannelOptions, Live } from "./types.d.ts";

export interface Member {
  subject: string;
  connections: number;
  data: Record<string, unknown> | null;
  joined_at: string;
}

/** Who is in a channel, kept up to date as docs/presence.md says. It subscribes to the channel with `presence: true`. */
export class Members {
  constructor(live: Live, channel: string, onChange: (members: Member[]) => void, options?: ChannelOptions);
  /** Those who are there, in the order of their subjects. */
  readonly all: Member[];
  /** Leave the channel. */
  close(): void;
}
