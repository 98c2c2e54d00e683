import { warn } from "../errors.js";

export const warnOfHandler = (error: unknown) => warn("A handler of the fan-out failed", error);
export const warnOfWatcher = (error: unknown) => warn("An aggregate watcher of the fan-out failed", error);
