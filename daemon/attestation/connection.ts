import { type Connection, NotAttestable, openConnection as open } from "@agentkeys/lib/attested/connection";

import { Problem } from "../problem.ts";

export type { Connection };

/** Opens a TLS 1.3 connection with HTTP/2 on it to a key service that nobody has vouched for yet. @throws Problem NOT_THE_KEY_SERVICE */
export async function openConnection(url: string): Promise<Connection> {
  try {
    return await open(url);
  } catch (error) {
    throw error instanceof NotAttestable ? notTheKeyService(url, error) : error;
  }
}

function notTheKeyService(url: string, cause: unknown): Problem {
  return new Problem(
    "NOT_THE_KEY_SERVICE",
    "standing",
    `What answers at ${url} is no key service that could be attested: it does not speak HTTP/2 over TLS 1.3.`,
    { remedy: "Check AGENTKEYS_KEYS_URL; nothing may stand before the key service that ends TLS for it.", cause },
  );
}
