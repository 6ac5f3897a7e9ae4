import { isAfter } from "./live/index.js";

/** What a tab keeps over a reload, and forgets when it is closed: the key, and where its lines begin. */
export const tab = {
  get key() {
    return sessionStorage.getItem("hub.key");
  },
  get since() {
    return JSON.parse(sessionStorage.getItem("hub.since"));
  },
  keep(key) {
    sessionStorage.setItem("hub.key", key);
  },
  begin(place) {
    sessionStorage.setItem("hub.since", JSON.stringify(place));
  },
  /** The event at `offset` is not shown any more: a reload begins after it. */
  trim(offset) {
    const since = this.since;
    if (since && isAfter(offset, since.offset)) this.begin({ ...since, offset });
  },
  /** The conversation that is open: `{agent, session}`. */
  get chat() {
    return JSON.parse(sessionStorage.getItem("hub.chat"));
  },
  talk(agent, session) {
    sessionStorage.setItem("hub.chat", JSON.stringify({ agent, session }));
  },
  hush() {
    sessionStorage.removeItem("hub.chat");
  },
  /** The name of the room that one is in. */
  get room() {
    return sessionStorage.getItem("hub.room");
  },
  enter(room) {
    sessionStorage.setItem("hub.room", room);
  },
  goOut() {
    sessionStorage.removeItem("hub.room");
  },
  /** The id of the twin that is open. */
  get twin() {
    return sessionStorage.getItem("hub.twin");
  },
  look(twin) {
    sessionStorage.setItem("hub.twin", twin);
  },
  lookAway() {
    sessionStorage.removeItem("hub.twin");
  },
  forget() {
    this.hush();
    this.lookAway();
    this.goOut();
    sessionStorage.removeItem("hub.key");
    sessionStorage.removeItem("hub.since");
  },
};
