import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";

import { createTestBrowser } from "../testing/browser.ts";
import { mailedToken, postForm, startTestBroker, type TestBroker } from "../testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

const textOf = (page: string): string =>
  page
    .replace(/^.*<main>|<\/main>.*$/gs, "")
    .replace(/<\/?bdi>/g, "")
    .replace(/<[^>]+>/g, " ")
    .replaceAll("&#39;", "'")
    .replace(/\s+/g, " ");

/** The mail, the page behind it, and the page after the press. */
async function told(email: string): Promise<{ mail: string; review: string; confirmed: string }> {
  const token = mailedToken(broker, email);
  const { subject = "", text = "" } = broker.devMailbox?.list()[0] ?? {};
  const review = textOf(await (await postForm(broker, "review", token)).text());
  const confirmed = textOf(await (await postForm(broker, "confirm", token)).text());
  return { mail: `${subject}\n${text}`, review, confirmed };
}

describe("mail and page say what it is for:", () => {
  const startedBy = async (purpose: LoginPurpose) => {
    await broker.clients().login.startEmailLogin({ email: "ada@example.com", deviceName: "laptop", purpose });
    return told("ada@example.com");
  };

  test("a machine that is signed in", async () => {
    const { mail, review, confirmed } = await startedBy(LoginPurpose.SIGN_IN);
    expect(mail).toContain("Sign in to AgentKeys");
    expect(review).toContain("Does your terminal show this code?");
    expect(review).toContain("short-lived AWS credentials in your name");
    expect(review).not.toContain("This is no sign-in");
    expect(confirmed).toContain("laptop is signed in as ada@example.com.");
  });

  test("a link, of which the person may know nothing", async () => {
    const { mail, review, confirmed } = await startedBy(LoginPurpose.LINK);
    expect(mail).toMatch(/Link this address.*they could take over an account that this address already has/s);
    expect(review).toMatch(
      /This is no sign-in\. .*Unless that account is yours, say no: they could take over the account/,
    );
    expect(review).toContain("Yes, link it");
    expect(confirmed).toContain("ada@example.com may be linked to the account that laptop is signed in to.");
    expect(confirmed).not.toContain("Signed in");
  });

  test("a proof, before an account is changed", async () => {
    const { mail, review, confirmed } = await startedBy(LoginPurpose.STEP_UP);
    expect(mail).toMatch(/Show AgentKeys that it is you.*about to change it/s);
    expect(review).toMatch(/This is no sign-in\. .*If you are not in the middle of that, say no/);
    expect(review).toContain("Yes, it is me");
    expect(confirmed).toContain("laptop is known to be yours, ada@example.com.");
  });

  test("a browser that is signed in, which is not a terminal", async () => {
    const browser = createTestBrowser();
    await browser.go(`${broker.url}/account`);
    await browser.submit("/account/sign-in", { email: "ada@example.com" });
    const { mail, review, confirmed } = await told("ada@example.com");
    expect(mail).toContain("your other page shows the same code");
    expect(review).toContain("Does your other page show this code?");
    expect(review).toContain("Yes opens your account's page in that browser");
    expect(review).toContain("This browser did not start it");
    expect(review).not.toContain("AWS credentials");
    expect(confirmed).toContain("A browser is signed in to the account's page as ada@example.com.");
  });
});
