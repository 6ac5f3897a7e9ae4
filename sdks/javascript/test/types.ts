/** Uses of the types, which must compile. */

import { Live, LiveError, isAfter } from "@aimatrix/sdk/live";
import type { EventFrame, Place } from "@aimatrix/sdk/live";
import { Members } from "@aimatrix/sdk/members";

interface Agent {
  id: string;
  name: string;
}

const live = new Live({ url: "https://hub.example.com", credential: async (why) => `token for ${why}` }).open();
const agents = live.subscribe<Agent>("agents", { onEvent: (frame: EventFrame<Agent>) => frame.event.data.name });
const place: Place | null = agents.place;

const members = new Members(live, "chat:lobby", (all) => all.map(({ subject }) => subject));
export const subjects: string[] = members.all.map((member) => member.subject);

export async function read(): Promise<boolean> {
  for await (const frame of live.subscribe("twins", { ...place })) {
    if (frame.type === "reset") break;
  }
  try {
    const { offset } = await live.publish("chat:lobby", { text: "Hello" });
    return isAfter(offset, "1");
  } catch (failure) {
    return failure instanceof LiveError && failure.code === "TIMED_OUT";
  }
}
