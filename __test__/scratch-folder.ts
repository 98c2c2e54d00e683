// Folders for what servers write.
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system in memory, on Linux. */
const MEMORY = "/dev/shm";

/**
 * Servers wait for the disk: a Redis Cluster's node before each vote, a Sentinel at each failover, workerd at each commit. Behind a large build
 * that takes seconds, longer than the deadlines that tests measure.
 */
export function scratchFolder(name: string): string {
  return mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), `covara-kv-${name}-`));
}
