import { invalid } from "../arguments.js";
import type { FanoutMode } from "../config.js";

const MODES: readonly unknown[] = ["targeted", "filtered", "all"] satisfies FanoutMode[];

/** Set by `covara-kv/register`, a separate bundle, from its environment variable. */
const DEFAULT = Symbol.for("covara-kv.fanout");
const holder = globalThis as { [DEFAULT]?: FanoutMode };

/** Throws INVALID_ARGUMENT for an unknown mode. */
export function fanoutMode(value: unknown, name: string): FanoutMode {
  if (!MODES.includes(value)) throw invalid(`${name} must be one of ${MODES.join(", ")}`);
  return value as FanoutMode;
}

/** The mode of a configuration without `fanout`. */
export const defaultFanout = (): FanoutMode => holder[DEFAULT] ?? "targeted";

/** Takes the default from COVARA_KV_FANOUT, if it is set. Throws INVALID_ARGUMENT. */
export function setDefaultFanout(variable: string | undefined): void {
  if (variable !== undefined && variable !== "") holder[DEFAULT] = fanoutMode(variable, "COVARA_KV_FANOUT");
}
