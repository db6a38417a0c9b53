import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { createTestRoot } from "@agentkeys/lib/evidence/testing/authority";
import { readCertificate } from "@agentkeys/lib/evidence/x509";
import { systemRandom } from "@agentkeys/lib/random";

/** What the stand-in issues documents with, in a file. */
export interface StandInMachine {
  /** PKCS #8, PEM. */
  key: string;
  /** DER in base64, the root last. */
  certificates: readonly string[];
  /** PCR i is 48 bytes of `image + i`. */
  image: number;
}

export interface NitroProgram {
  /** For AGENTKEYS_TEE_ATTEST_PROGRAM. */
  program: string;
  rootSha256: string;
  /** Lets the machine run another image from now on. */
  run(image: number): void;
}

/** Writes a program into the folder that stands in for `nitro-tpm-attest`, and makes the root that its documents lead to. */
export function createNitroProgram(folder: string, image: number): NitroProgram {
  const hour = 3_600_000;
  const validity = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) };
  const root = createTestRoot("test nitro root", { random: systemRandom, validity });
  const { key, der } = root.endEntity("i-0123-enc0");
  const [machine, program] = [join(folder, "machine.json"), join(folder, "nitro-tpm-attest")];
  const run: NitroProgram["run"] = (running) => {
    const contents: StandInMachine = {
      key: key.export({ format: "pem", type: "pkcs8" }).toString(),
      certificates: [der, ...root.chain].map((one) => one.toString("base64")),
      image: running,
    };
    writeFileSync(machine, JSON.stringify(contents), { mode: 0o600 });
  };
  run(image);
  const node = [process.execPath, "--import", import.meta.resolve("tsx")];
  const words = [...node, join(import.meta.dirname, "attest-stand-in.ts"), machine].map((word) => `'${word}'`);
  writeFileSync(program, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o700 });
  return { program, rootSha256: readCertificate(root.der).fingerprint, run };
}
