import type { ServiceImpl } from "@connectrpc/connect";

import type { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import { type OmniAccount, parseOmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { currentSession } from "@agentkeys/lib/session";

import { authorize } from "./authorization.ts";
import type { ProvableLog } from "./sign-log/index.ts";

const DEFAULT_PAGE_SIZE = 50;

/**
 * The RPCs over `log`; a development backend has none, and serves nothing. `admit` counts who asks for entries, which have to be read and
 * checked: up to a fifth of a second for a page. It throws Failure RATE_LIMITED.
 */
export function createSignLogService(
  log: ProvableLog | undefined,
  admit: (account: OmniAccount) => void = () => undefined,
): Partial<ServiceImpl<typeof SignLogService>> {
  return {
    ...(log !== undefined && {
      getCheckpoint: () => ({ checkpoint: log.head.checkpoint }),

      getInclusionProof: async ({ index, size }) => ({ hashes: await log.inclusionProof(Number(index), Number(size)) }),

      getConsistencyProof: async ({ fromSize, toSize }) => ({
        hashes: await log.consistencyProof(Number(fromSize), Number(toSize)),
      }),
    }),

    listEntries: async ({ omniAccount, pageSize, pageToken }, context) => {
      const account = parseOmniAccount(omniAccount);
      authorize(context.values.get(currentSession), account);
      if (log === undefined) {
        throw new Failure(ErrorReason.NOT_SERVED, "this key service keeps no log that could be shown");
      }
      admit(account);
      // One head for the whole page: the log grows meanwhile.
      const { checkpoint, size } = log.head;
      const before = pageToken === "" ? size : positionOf(pageToken, size);
      const page = await log.entriesOf(account, { before, limit: pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize });
      const entries = await Promise.all(
        page.entries.map(async ({ index, bytes }) => ({
          index: BigInt(index),
          entry: bytes,
          inclusionProof: await log.inclusionProof(index, size),
        })),
      );
      return { checkpoint, entries, nextPageToken: page.next === undefined ? "" : String(page.next) };
    },
  };
}

/** A page token is the index that the page before ended at. */
function positionOf(token: string, size: number): number {
  const position = /^[0-9]{1,16}$/.test(token) ? Number(token) : NaN;
  if (position <= size) return position;
  throw new Failure(ErrorReason.LOG_POSITION_UNKNOWN, "page_token is not one that this log gave out");
}
