/** The form in which `publishEvent` and the framework write an event. */
const USUAL = /^\{"type":"\w+","subscriptionId":("(?:[^"\\]|\\.)*"),"event":(.*)\}$/s;

/** An event: its subscription, and its JSON unchanged. */
export interface EventMessage {
  readonly subscriptionId: string;
  readonly event: string;
}

/** Undefined if the text is no message. An event that `isWanted` refuses need not be parsed completely. */
export function readEvent(
  text: string,
  isWanted: (subscriptionId: string) => boolean,
): EventMessage | "unwanted" | undefined {
  const [, id, event] = USUAL.exec(text) ?? [];
  if (id !== undefined) {
    const subscriptionId = parse(id);
    if (typeof subscriptionId === "string" && !isWanted(subscriptionId)) return "unwanted";
  }
  const message = parse(text) as { subscriptionId?: unknown; event?: unknown } | null | undefined;
  if (typeof message?.subscriptionId !== "string" || message.event === undefined) return undefined;
  if (!isWanted(message.subscriptionId)) return "unwanted";
  const isAsItCame = event !== undefined && parse(event) !== undefined;
  return {
    subscriptionId: message.subscriptionId,
    event: isAsItCame ? event : JSON.stringify(message.event),
  };
}

/** The resource that has changed. Undefined if the text is no message. */
export function readAggregate(text: string): string | undefined {
  const resource = (parse(text) as { resource?: unknown } | null | undefined)?.resource;
  return typeof resource === "string" ? resource : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
