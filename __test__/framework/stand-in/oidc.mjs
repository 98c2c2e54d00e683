import { getGlobalKV } from "./kv/index.mjs";

/** Written at start-up. Nobody awaits it. */
export async function writeClients(clients) {
  for (const client of clients) await getGlobalKV().set(`oidc:clients:${client.id}`, JSON.stringify(client));
}
