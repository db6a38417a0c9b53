import { basename, join } from "node:path";

import { buildSync } from "esbuild";

/**
 * Builds a program of the sources into one file of `folder`, for tests that start it often: node reads that in a tenth of the time that it
 * takes with all of the sources. Returns the file.
 */
export function builtProgram(source: string, folder: string): string {
  const outfile = join(folder, basename(source).replace(/\.ts$/, ".mjs"));
  buildSync({
    entryPoints: [source],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  return outfile;
}
