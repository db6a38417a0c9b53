import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { HOUR } from "@agentkeys/lib/clock";

import { createMachine, succeeded } from "./harness/machine.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";
import { createUndoStack } from "./harness/undo-stack.ts";

let offset = 0;
const clock = (): number => Date.now() + offset;

let front: LossyProxy;
let system: System;
const undo = createUndoStack();
beforeAll(async () => {
  front = await startLossyProxy();
  undo.add(() => front.close());
  system = await startSystem({ clock, front });
  undo.add(() => system.close());
});
afterAll(() => undo.run());

test.each([1, 2])("a machine whose renewal was done, and its answer lost %i times, stays signed in", async (times) => {
  const machine = createMachine({ system, clock });
  undo.add(() => machine.remove());
  await machine.signIn(`lost-${times}@example.com`, plainBrowser());
  offset += 6 * HOUR;
  front.lose = times;
  const renewals = front.lost;
  // The second time it has no answer at all: the command fails, and the next one is what asks again.
  expect((await machine.agentkeys("whoami")).code).toBe(times === 1 ? 0 : 4);
  expect(front.lost).toBe(renewals + times);
  offset += 20_000;
  expect(succeeded(await machine.agentkeys("whoami", "--json"))).toContain(`lost-${times}@example.com`);
});

interface LossyProxy {
  url: string;
  forwardTo(upstream: string): void;
  /** How many answers to renewals, from now on, do not get through. */
  lose: number;
  /** How many did not. */
  lost: number;
  close(): Promise<void>;
}

async function startLossyProxy(): Promise<LossyProxy> {
  let upstream = "";
  const server = createServer((incoming, outgoing) => {
    const { method, headers, url = "/" } = incoming;
    const call = request(new URL(upstream), { method, headers, path: url }, (response) => {
      if (url.endsWith("/RenewSession") && proxy.lose > 0) {
        proxy.lose--;
        proxy.lost++;
        outgoing.destroy();
        return;
      }
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    call.on("error", () => outgoing.destroy());
    incoming.pipe(call);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: LossyProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forwardTo: (url) => (upstream = url),
    lose: 0,
    lost: 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}
