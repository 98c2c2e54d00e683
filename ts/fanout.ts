import { unsupported } from "./errors.js";

/**
 * Lets changes made on other instances reach the streams that are open here. Not built yet: rejects with
 * `UNSUPPORTED`.
 */
export const initializeEventSubscription: () => Promise<void> = async () =>
  unsupported("Event subscription")();
