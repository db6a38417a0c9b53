import { expect, test } from "vitest";

import { createLog } from "@agentkeys/lib/log";

import { createDevMailbox } from "./dev-mailbox.ts";

const mailTo = (to: string) => ({
  to,
  subject: "s",
  text: `open http://localhost:8091/login#${"t".repeat(43)} now`,
  html: "",
});

function mailbox() {
  const logged: string[] = [];
  const log = createLog("broker", { destination: { write: (line) => void logged.push(line) } });
  return { logged, box: createDevMailbox({ clock: () => 1000, log }) };
}

test("mails are kept with the newest first, each with its time", async () => {
  const { box } = mailbox();
  await box.send(mailTo("ada@example.com"));
  await box.send(mailTo("bob@example.com"));
  expect(box.list().map(({ to, receivedAt, number }) => [to, receivedAt, number])).toEqual([
    ["bob@example.com", 1000, 2],
    ["ada@example.com", 1000, 1],
  ]);
});

test("the link is logged with the word DEVELOPMENT", async () => {
  const { box, logged } = mailbox();
  await box.send(mailTo("ada@example.com"));
  expect(JSON.parse(logged.join(""))).toMatchObject({
    level: "warn",
    to: "ada@example.com",
    link: `http://localhost:8091/login#${"t".repeat(43)}`,
    msg: expect.stringContaining("DEVELOPMENT") as string,
  });
});

test("however many come, the last fifty are kept", async () => {
  const { box } = mailbox();
  for (let i = 1; i <= 60; i++) await box.send(mailTo(`person${i}@example.com`));
  expect(box.list()).toHaveLength(50);
  expect(box.list().at(-1)?.to).toBe("person11@example.com");
});
