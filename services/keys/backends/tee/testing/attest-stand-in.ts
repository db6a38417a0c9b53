/**
 * Stands in for `nitro-tpm-attest`: issues a document as the Nitro hypervisor would, under a test root, and says so on standard error.
 * `attest-stand-in.ts MACHINE.json [--nonce FILE] [--user-data FILE] [--public-key FILE]`; see nitro-program.ts for MACHINE.json.
 */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { issueNitroDocument } from "@agentkeys/lib/evidence/testing/nitro";

import type { StandInMachine } from "./nitro-program.ts";

const string = { type: "string" } as const;
const { values, positionals } = parseArgs({
  options: { nonce: string, "user-data": string, "public-key": string },
  allowPositionals: true,
});
const machine = JSON.parse(readFileSync(positionals[0] ?? "", "utf8")) as StandInMachine;
const field = (name: keyof typeof values): Buffer | null => {
  const file = values[name];
  return file === undefined ? null : readFileSync(file);
};
const [der = Buffer.alloc(0), ...chain] = machine.certificates.map((one) => Buffer.from(one, "base64"));

process.stderr.write("a stand-in for nitro-tpm-attest: its document is issued under a test root, by no hypervisor\n");
process.stdout.write(
  issueNitroDocument(
    {
      moduleId: "i-0123-enc0",
      madeAt: new Date(),
      source: "enclave",
      pcrs: new Map([0, 1, 2, 3, 8].map((index) => [index, Buffer.alloc(48, machine.image + index)])),
      publicKey: field("public-key"),
      userData: field("user-data"),
      nonce: field("nonce"),
    },
    { key: createPrivateKey(machine.key), der, chain },
  ),
);
