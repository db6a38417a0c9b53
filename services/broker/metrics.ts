import { Counter, type Registry } from "@agentkeys/lib/metrics";

import type { AuditStore } from "./audit/index.ts";
import type { Limits } from "./limits/index.ts";
import type { LoginStore } from "./login/index.ts";
import type { Mailer } from "./mail/index.ts";
import type { BrokerStore, Repositories } from "./store/index.ts";

/** What the broker counts beside its calls: each part is given one that counts, and knows nothing of it. */
export interface BrokerMetrics {
  /** What is kept counts; what a transaction undid does not. */
  ofStore(store: BrokerStore): BrokerStore;
  ofLimits(limits: Limits): Limits;
  ofMailer(mailer: Mailer, kind: "sign-in" | "notice"): Mailer;
  readonly storeFailed: () => void;
}

type Count = () => void;

export function createBrokerMetrics(registry: Registry): BrokerMetrics {
  const counter = <L extends string>(name: string, help: string, labelNames: L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers: [registry] });
  const events = counter(
    "agentkeys_events_total",
    "What happened or was refused, as in the accounts' histories: oidc.minted, session.renewed, identity.linked and so on.",
    ["action", "outcome"],
  );
  const signIns = counter("agentkeys_sign_ins_total", "Sign-ins by way, and how far they came.", ["method", "outcome"]);
  const mails = counter("agentkeys_mails_total", "Mails by kind, and whether the mail server took them.", [
    "kind",
    "outcome",
  ]);
  const refused = counter("agentkeys_limited_total", "Requests refused for there were too many, by limit.", ["limit"]);
  const storeErrors = counter("agentkeys_store_errors_total", "Uses of the store that failed.", []);

  const countingAudit = (audit: AuditStore, later: (count: Count) => void): AuditStore => ({
    ...audit,
    append: async (event) => {
      await audit.append(event);
      later(() => events.inc({ action: event.action, outcome: event.outcome }));
    },
  });
  const countingLogins = (logins: LoginStore, later: (count: Count) => void): LoginStore => ({
    ...logins,
    insert: async (login) => {
      await logins.insert(login);
      later(() => signIns.inc({ method: login.method, outcome: "started" }));
    },
    advance: async (loginId, from, to, now) => {
      const advanced = await logins.advance(loginId, from, to, now);
      const login = advanced ? await logins.find(loginId) : undefined;
      if (login !== undefined) later(() => signIns.inc({ method: login.method, outcome: to }));
      return advanced;
    },
  });
  const counting = (tx: Repositories, later: (count: Count) => void): Repositories => ({
    ...tx,
    audit: countingAudit(tx.audit, later),
    logins: countingLogins(tx.logins, later),
  });

  return {
    ofStore: (store) => ({
      ...store,
      audit: countingAudit(store.audit, (count) => count()),
      transaction: async (work) => {
        const counts: Count[] = [];
        const result = await store.transaction((tx) => work(counting(tx, (count) => counts.push(count))));
        for (const count of counts) count();
        return result;
      },
    }),
    ofLimits: (limits) => {
      const count =
        (verb: "consume" | "check"): Limits["consume"] =>
        async (name, key) => {
          try {
            await limits[verb](name, key);
          } catch (error) {
            refused.inc({ limit: name });
            throw error;
          }
        };
      return { consume: count("consume"), check: count("check") };
    },
    ofMailer: (mailer, kind) => ({
      ...mailer,
      send: async (mail) => {
        try {
          await mailer.send(mail);
          mails.inc({ kind, outcome: "sent" });
        } catch (error) {
          mails.inc({ kind, outcome: "failed" });
          throw error;
        }
      },
    }),
    storeFailed: () => storeErrors.inc(),
  };
}
