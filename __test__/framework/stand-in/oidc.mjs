import { getGlobalKV } from "./kv/index.mjs";

/** Runs at start-up, and is not awaited. */
export async function writeClients(clients) {
  for (const client of clients) await getGlobalKV().set(`oidc:clients:${client.id}`, JSON.stringify(client));
}
