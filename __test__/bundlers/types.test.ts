// An application as strict as TypeScript allows must compile, with the oldest and the newest TypeScript that is promised. Otherwise `url:
// process.env.REDIS_URL` is no RedisConfig under exactOptionalPropertyTypes.
import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { typescript } from "../installed/programs.js";
import { Machine, root, tool } from "../installed/run.js";
import { bundler, install, unlessAll } from "./project.js";

const machine = new Machine();
let project: string;

before(async () => {
  project = machine.folder("project", { "package.json": JSON.stringify({ name: "app", private: true }) });
  await install(machine, project);
});

after(() => machine.remove());

const compilers: Record<string, string> = {
  "5.2": tool("typescript52/bin/tsc"),
  "7.0": tool("typescript70/bin/tsc"),
};
const others: Record<string, string> = {
  "5.3": bundler("typescript53/bin/tsc"),
  "5.5": bundler("typescript55/bin/tsc"),
  "5.7": bundler("typescript57/bin/tsc"),
  "5.9": join(root, "node_modules/typescript/bin/tsc"),
  "6.0": bundler("typescript60/bin/tsc"),
};

test("docs/bundlers.md names the versions that are tested", () => {
  const versions = Object.keys({ ...compilers, ...others }).sort();
  const named = `${versions.slice(0, -1).join(", ")} and ${versions.at(-1)}`;
  const guide = readFileSync(join(root, "docs/bundlers.md"), "utf8");
  assert.ok(guide.includes(`tested with TypeScript ${named}`), named);
});

/** Every optional field, with the value that an environment gives: undefined where a variable is not set. */
const configuration = `
import { createKV, createRedisKVFromConfig, initializeKV, type KVConfig, type KVStore, type RedisConfig } from "covara-kv";
declare const env: Readonly<Record<string, string | undefined>>;
const text = env.TEXT;
const redis: RedisConfig = { url: env.REDIS_URL };
const config: KVConfig = {
  type: "redis", prefix: text, strict: undefined,
  redis: { url: text, host: text, username: text, password: text, clientName: text, tls: { ca: text, servername: text } },
};
export const stores: (() => Promise<KVStore>)[] = [
  () => createKV(config),
  () => initializeKV({ type: "memory", prefix: text, shared: text }),
  () => Promise.resolve(createRedisKVFromConfig(redis)),
];
`;

/** The program without and with the types of Node.js. With them it needs no declaration of `process`. */
const programs = {
  "without @types/node": { types: [], text: typescript },
  "with @types/node": { types: ["node"], text: typescript.replace(/^declare const process.*$/m, "") },
};

const resolutions = {
  node16: { module: "node16", files: ["app.mts", "app.cts"], outputs: ["app.mjs", "app.cjs"] },
  bundler: { module: "esnext", files: ["app.mts"], outputs: ["app.mjs"] },
};

for (const [version, tsc] of Object.entries({ ...compilers, ...others })) {
  describe(`TypeScript ${version}`, { skip: version in others && unlessAll }, () => {
    for (const [moduleResolution, { module, files, outputs }] of Object.entries(resolutions)) {
      for (const [name, { types, text }] of Object.entries(programs)) {
        test(`${moduleResolution}, ${name}`, async () => {
          const folder = `project/${version} ${moduleResolution} ${name}`;
          const strict = { strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true };
          const compilerOptions = {
            ...{ module, moduleResolution, ...strict, types },
            // The package's types are checked; to check TypeScript's own takes longer than all else.
            ...{ skipLibCheck: false, skipDefaultLibCheck: true },
            ...{ target: "es2022", rootDir: ".", outDir: ".", noEmitOnError: true },
          };
          const directory = machine.folder(folder, {
            ...Object.fromEntries(files.map((file) => [file, text])),
            "configuration.mts": configuration,
            "tsconfig.json": JSON.stringify({ compilerOptions, files: [...files, "configuration.mts"] }),
          });
          if (types.length > 0) {
            const packages = join(machine.folder(`${folder}/node_modules`), "@types");
            symlinkSync(join(root, "node_modules/@types"), packages);
          }
          await machine.run(directory, "node", tsc);
          for (const output of outputs) assert.equal(await machine.run(directory, "node", output), "DONE\n");
        });
      }
    }
  });
}
