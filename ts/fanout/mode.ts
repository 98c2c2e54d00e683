import { invalid } from "../arguments.js";
import type { FanoutMode } from "../config.js";

const MODES: readonly unknown[] = ["targeted", "filtered", "all"] satisfies FanoutMode[];

/** Where `covara-kv/register`, a module of its own, leaves what its variable says. */
const DEFAULT = Symbol.for("covara-kv.fanout");
const holder = globalThis as { [DEFAULT]?: FanoutMode };

/** Throws INVALID_ARGUMENT for what is no mode. */
export function fanoutMode(value: unknown, name: string): FanoutMode {
  if (!MODES.includes(value)) throw invalid(`${name} must be one of ${MODES.join(", ")}`);
  return value as FanoutMode;
}

/** Of a configuration that does not say. */
export const defaultFanout = (): FanoutMode => holder[DEFAULT] ?? "targeted";

/** Takes what COVARA_KV_FANOUT says, if it is set. Throws INVALID_ARGUMENT. */
export function setDefaultFanout(variable: string | undefined): void {
  if (variable !== undefined && variable !== "") holder[DEFAULT] = fanoutMode(variable, "COVARA_KV_FANOUT");
}
