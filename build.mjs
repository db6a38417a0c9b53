// Bundles each program, or those named as arguments, into one folder that runs with nothing but Node:
//
//   dist/broker/main.js     and beside it libsql, whose native binary cannot be bundled
//   dist/keys/main.js
//   dist/mailbox/main.js    (development only)
//   daemon/dist/agentkeys.js
//
// Each folder also holds source maps and the licences of what was bundled.
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { build } from "esbuild";

const root = import.meta.dirname;
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));

const programs = {
  broker: { entry: "services/broker/main.ts", out: "dist/broker", file: "main", native: ["libsql"] },
  keys: { entry: "services/keys/main.ts", out: "dist/keys", file: "main" },
  "keys-tee": { entry: "services/keys/main-tee.ts", out: "dist/keys-tee", file: "main" },
  "tee-dev": { entry: "deploy/tee/main.ts", out: "dist/tee-dev", file: "main" },
  mailbox: { entry: "deploy/mailbox/main.ts", out: "dist/mailbox", file: "main" },
  daemon: { entry: "daemon/main.ts", out: "daemon/dist", file: "agentkeys", command: true },
};
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in programs));
if (unknown.length > 0) throw new Error(`${unknown.join(", ")}: there is only ${Object.keys(programs).join(", ")}`);
await Promise.all((asked.length > 0 ? asked : Object.keys(programs)).map((name) => bundle(programs[name])));

/** `native` packages stay outside and are copied; a `command` gets a first line that lets a shell start it. */
async function bundle({ entry, out, file, native = [], command = false }) {
  const outdir = join(root, out);
  await rm(outdir, { recursive: true, force: true });
  const result = await build({
    absWorkingDir: root,
    entryPoints: { [file]: entry },
    outdir,
    bundle: true,
    // A command is started often: what is only imported when it is needed stays in files of its own.
    splitting: command,
    chunkNames: "parts/[name]-[hash]",
    platform: "node",
    target: "node20.19",
    format: "esm",
    external: native,
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "none", // whole licence texts are written below
    metafile: true,
    logLevel: "warning",
    define: { AGENTKEYS_VERSION: JSON.stringify(version) },
    // CommonJS packages inside an ES module still call require() for Node's own modules.
    banner: {
      js:
        (command ? "#!/usr/bin/env node\n" : "") +
        'import { createRequire as bundleCreateRequire } from "node:module"; const require = bundleCreateRequire(import.meta.url);',
    },
  });
  if (!command) {
    const manifest = { name: `@agentkeys/${out.split("/").at(-1)}`, version, private: true, type: "module" };
    await writeFile(join(outdir, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  }
  for (const name of native) await copyPackage(name, root, join(outdir, "node_modules"));
  await writeFile(join(outdir, "THIRD-PARTY-LICENSES.txt"), await licencesOf(result.metafile));
  const bytes = Object.values(result.metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
  console.log(`${out}/${file}.js  ${Math.round(bytes / 1024)} KiB with its source map`);
}

/** Copies an installed package and what it depends on, as far as it is installed for this platform. */
async function copyPackage(name, from, to) {
  const folder = installedFolder(name, from);
  if (folder === undefined) return;
  const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  if (isForOtherLibc(name)) return;
  await mkdir(to, { recursive: true });
  await cp(folder, join(to, name), { recursive: true, filter: (path) => !path.endsWith(".d.ts") });
  const needed = { ...manifest.dependencies, ...manifest.optionalDependencies };
  for (const dependency of Object.keys(needed)) await copyPackage(dependency, folder, to);
}

function installedFolder(name, from) {
  const candidates = createRequire(join(from, "package.json")).resolve.paths(name) ?? [];
  for (const folder of candidates.map((path) => join(path, name))) {
    try {
      createRequire(import.meta.url).resolve(join(folder, "package.json"));
      return folder;
    } catch {
      // not here: an optional package of another platform, or one that is hoisted further up
    }
  }
  return undefined;
}

/** npm installs both builds of a package for Linux, the one for glibc and the one for musl. */
function isForOtherLibc(name) {
  const glibc = process.report.getReport().header.glibcVersionRuntime !== undefined;
  return name.endsWith(glibc ? "-musl" : "-gnu");
}

/** The licence text of every package that has code in the bundle. */
async function licencesOf(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const folder = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (folder !== undefined) packages.add(folder);
  }
  const texts = [];
  for (const folder of [...packages].sort()) {
    const manifest = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
    const files = (await readdir(join(root, folder))).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const parts = await Promise.all(files.map((file) => readFile(join(root, folder, file), "utf8")));
    texts.push([`${manifest.name} ${manifest.version} (${manifest.license})`, ...parts].join("\n\n"));
  }
  return texts.join(`\n\n${"-".repeat(80)}\n\n`);
}
