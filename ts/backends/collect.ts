import type { Reply } from "../../native.js";

/**
 * Makes an array of items, or appends them to one, for native code: to set elements one by one through Node-API takes three times
 * as long.
 */
export function collect(array: Reply[] | undefined, ...items: Reply[]): Reply[] {
  if (array === undefined) return items;
  // By index: an iterator or a method may be patched, and no other code may run while a store is in use.
  const start = array.length;
  for (let i = 0; i < items.length; i++) array[start + i] = items[i] as Reply;
  return array;
}
