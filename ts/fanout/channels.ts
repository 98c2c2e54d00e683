/** `events` carries messages for handlers, `aggregate` those for watchers. */
export type Channel = "events" | "aggregate";

export const CHANNELS: readonly Channel[] = ["events", "aggregate"];

/** Their names on a server. A store's prefix does not apply. */
export const CHANNEL_OF: Record<Channel, string> = { events: "covara:events", aggregate: "covara:aggregate" };

export function isFrameworkChannel(name: string): boolean {
  return name === CHANNEL_OF.events || name === CHANNEL_OF.aggregate;
}
