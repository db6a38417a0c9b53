import { readFile, writeFile } from "node:fs/promises";

import { formatSoftIssuer, makeSoftIssuer, parseSoftIssuer, type SoftIssuer } from "./providers/soft.ts";

/** DEV ONLY: the issuer of a file, which is made where there is none. @throws Error where the file is something else, or cannot be read */
export async function softIssuerIn(path: string, making: Parameters<typeof makeSoftIssuer>[0]): Promise<SoftIssuer> {
  try {
    return parseSoftIssuer(await readFile(path, "utf8"));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  const issuer = makeSoftIssuer(making);
  await writeFile(path, formatSoftIssuer(issuer), { mode: 0o600, flag: "wx" });
  return issuer;
}
