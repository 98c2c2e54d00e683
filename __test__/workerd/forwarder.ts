// A Worker that passes requests to the object that the header `object` names, as they come.
export { CovaraKVDurableObject } from "covara-kv";

interface Env {
  readonly COVARA_KV: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response> };
  };
}

export default {
  fetch(request: Request, { COVARA_KV }: Env): Promise<Response> {
    return COVARA_KV.get(COVARA_KV.idFromName(request.headers.get("object") ?? "")).fetch(request);
  },
};
