import { createHash } from "node:crypto";

import { expect, test } from "vitest";

import { systemClock } from "@agentkeys/lib/clock";
import { type SoftPins, softVerifier } from "@agentkeys/lib/evidence/soft";
import { systemRandom } from "@agentkeys/lib/random";

import { formatSoftIssuer, makeSoftIssuer, parseSoftIssuer, softProvider } from "./soft.ts";

const issuer = makeSoftIssuer({ clock: systemClock, random: systemRandom });
const root = createHash("sha256")
  .update(issuer.certificates.at(-1) ?? Buffer.alloc(0))
  .digest("hex");
const asked = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2) };
const pins: SoftPins = {
  development: true,
  roots: [root],
  code: [{ name: "code", values: ["from sources"] }],
  identity: [{ name: "machine", values: ["mine"] }],
  maxAgeMs: 60_000,
  clockSkewMs: 2_000,
};

test("soft evidence is what its verifier takes, after its issuer was in a file", async () => {
  const provider = softProvider({
    issuer: parseSoftIssuer(formatSoftIssuer(issuer)),
    measurements: { code: "from sources" },
    identity: { machine: "mine" },
    clock: systemClock,
  });
  const evidence = await provider.evidence(asked.reportData, asked.nonce);
  const verified = softVerifier.verify(evidence, { ...asked, at: new Date() }, pins);
  expect(verified.measurements).toEqual({ code: "from sources" });
  const other: SoftPins = { ...pins, roots: ["00".repeat(32)] };
  expect(() => softVerifier.verify(evidence, { ...asked, at: new Date() }, other)).toThrow("not pinned");
});

test("a file that is no issuer is refused without a word of it", () => {
  const text = formatSoftIssuer(issuer);
  const foreign = formatSoftIssuer({
    ...issuer,
    key: makeSoftIssuer({ clock: systemClock, random: systemRandom }).key,
  });
  for (const wrong of ["", "{}", text.replace("BEGIN PRIVATE", "BEGIN"), foreign]) {
    expect(() => parseSoftIssuer(wrong)).toThrow(/^this is no issuer file of soft evidence: make a new one$/);
  }
});
