/** The part of the runtime's module that the Workers of the tests use. */
declare module "cloudflare:workers" {
  export const env: { readonly COVARA_KV: import("covara-kv").DurableObjectNamespaceLike };
}
