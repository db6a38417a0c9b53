import type { Http2Connections } from "@agentkeys/lib/rpc";

import type { AttestedConnections } from "./attestation/index.ts";
import type { Io } from "./io.ts";
import type { Settings } from "./settings.ts";

/**
 * The way to the key service: every request to it goes through here. What speaks on it is loaded by who makes a call (services.ts), since
 * every run of `agentkeys creds` has a route, and most call nobody.
 */
export interface KeyServiceRoute {
  url: string;
  /** The attested connections, which requests must go out on; absent where nothing is attested. */
  connections?: Http2Connections;
  /** Remembers where an answer said that a signature stands in the sign log; absent where nothing is attested. @throws Problem STATE_* */
  answered?: (index: number) => Promise<void>;
}

/**
 * The way that the settings name. Where they name a policy, a connection is attested before anything else is sent on it, and so is every
 * one after it; without one the key service is whoever answers at the URL, under a certificate that this machine trusts.
 * Opening it connects to nothing and reads nothing.
 */
export function keyServiceRoute(
  settings: Pick<Settings, "keysUrl" | "attestationPolicy">,
  stateFolder: string,
  { clock, random }: Pick<Io, "clock" | "random">,
): KeyServiceRoute {
  const { keysUrl: url, attestationPolicy: policyFile } = settings;
  if (policyFile === undefined) return directRoute(url);
  let opened: Promise<AttestedConnections> | undefined;
  const current = (): Promise<AttestedConnections> => (opened ??= open());
  const connections: Http2Connections = {
    authority: new URL(url).origin,
    request: async (...args) => await (await current()).request(...args),
  };
  const open = async (): Promise<AttestedConnections> => {
    try {
      // Loaded when needed: most runs of `agentkeys creds` call nobody.
      const { openAttestedConnections } = await import("./attestation/index.ts");
      return await openAttestedConnections({ url, policyFile, stateFolder, clock, random });
    } catch (error) {
      opened = undefined;
      throw error;
    }
  };
  return { url, connections, answered: async (index) => (await current()).answered(index) };
}

/** The key service at `url`, attested by nobody. */
export function directRoute(url: string): KeyServiceRoute {
  return { url };
}
