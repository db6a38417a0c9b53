import type { Adapter, AdapterFactory, AdapterPayload } from "oidc-provider";

/**
 * What a provider remembers: sessions, visits, grants, codes. It outlives the provider that wrote it, so that one with other keys can take
 * over. Nothing expires here: the provider looks at the `exp` of what it finds.
 */
export function createProviderMemory(
  client: (clientId: string) => Record<string, unknown> | undefined,
): AdapterFactory {
  const memory = new Map<string, AdapterPayload>();
  return (model): Adapter => {
    const key = (id: string): string => `${model}:${id}`;
    const findBy = (matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const [at, payload] of memory) if (at.startsWith(`${model}:`) && matches(payload)) return payload;
      return undefined;
    };
    return {
      upsert: (id, payload) => {
        memory.set(key(id), payload);
        return Promise.resolve();
      },
      find: (id) => Promise.resolve(model === "Client" ? client(id) : memory.get(key(id))),
      findByUid: (uid) => Promise.resolve(findBy((payload) => payload.uid === uid)),
      findByUserCode: (code) => Promise.resolve(findBy((payload) => payload.userCode === code)),
      consume: (id) => {
        const payload = memory.get(key(id));
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
        return Promise.resolve();
      },
      destroy: (id) => {
        memory.delete(key(id));
        return Promise.resolve();
      },
      revokeByGrantId: (grantId) => {
        for (const [at, payload] of memory) {
          if (at.startsWith(`${model}:`) && payload.grantId === grantId) memory.delete(at);
        }
        return Promise.resolve();
      },
    };
  };
}
