/** What the runtime has, as far as the Workers of the tests use it. */
declare module "cloudflare:workers" {
  export const env: { readonly COVARA_KV: import("covara-kv").DurableObjectNamespaceLike };
}
