import { isLoopback } from "../settings/kinds.ts";

/**
 * The origins that a server may be called by, the one it tells others first: its public URL where one is set, else where it
 * listens; on loopback also by loopback's other names. What a DPoP proof's `htu` is compared with.
 */
export function ownOrigins(server: { url: string; host: string; port: number }, publicUrl?: string): readonly string[] {
  if (publicUrl !== undefined) return [new URL(publicUrl).origin];
  if (!isLoopback(server.host)) return [server.url];
  const { protocol } = new URL(server.url);
  const names = ["127.0.0.1", "localhost", "[::1]"].map((name) => `${protocol}//${name}:${server.port}`);
  return [server.url, ...names.filter((name) => name !== server.url)];
}
