import { warn } from "../errors.js";

export const reportHandler = (error: unknown) => warn("A handler of the fan-out failed", error);
export const reportWatcher = (error: unknown) => warn("An aggregate watcher of the fan-out failed", error);
