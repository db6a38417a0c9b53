// Fails when a dependency that nobody has looked at brings a script that npm runs at install. Those listed here neither
// download nor compile when npm has put their binary package in place; protobufjs only prints a warning.
import { readFileSync } from "node:fs";

const known = new Set(["@bufbuild/buf", "esbuild", "protobufjs"]);

const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const unknown = Object.entries(packages)
  .filter(([, entry]) => entry.hasInstallScript === true)
  .map(([path]) => path.split("node_modules/").at(-1))
  .filter((name) => !known.has(name));

if (unknown.length > 0) {
  console.error(`These packages bring an install script that nobody has looked at yet: ${unknown.join(", ")}`);
  process.exit(1);
}
console.log("no install script but those that were looked at");
