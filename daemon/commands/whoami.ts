import { timestampMs } from "@bufbuild/protobuf/wkt";

import { accessFor } from "../access.ts";
import { printable } from "../printable.ts";
import type { Context } from "../context.ts";
import { openMachine } from "../machine.ts";
import { enrolledWords } from "../wire-identity.ts";
import { answer, duration, isoTime, warn } from "../output.ts";

/** `agentkeys whoami`: who this machine acts for, as the broker says. */
export async function whoami(context: Context): Promise<void> {
  const { io, keyService } = context;
  const { sessions } = openMachine(context, { onTrouble: (problem) => warn(context, problem) });
  const enrolment = await sessions.current();
  const { asPerson } = await accessFor(enrolment, { ...io, keyService });
  const me = await asPerson.account.whoAmI({});

  const { identity, omniAccount, walletAddress, brokerUrl } = enrolment;
  const expiresAt =
    me.session?.expiresAt === undefined ? enrolment.session.expiresAt : timestampMs(me.session.expiresAt);
  const wallet = me.wallets.find(({ address }) => address === walletAddress);
  const deviceName = printable(me.session?.deviceName ?? "");
  answer(
    context,
    {
      omni_account: omniAccount,
      identity,
      ...(walletAddress !== undefined && { wallet_address: walletAddress }),
      wallet_linked: wallet?.verified === true,
      session: { id: me.session?.sessionId, expires_at: isoTime(expiresAt), device_name: deviceName },
      broker_url: brokerUrl,
    },
    [
      `${enrolledWords(identity)} (${identity.type})`,
      `account  ${omniAccount}`,
      `wallet   ${walletAddress === undefined ? "none yet: run `agentkeys init`" : `${walletAddress} (${wallet?.verified === true ? "linked" : "not linked"})`}`,
      `session  ends in ${duration(expiresAt - io.clock())} unless renewed${deviceName === "" ? "" : `, on ${deviceName}`}`,
      `broker   ${brokerUrl}`,
    ],
  );
}
