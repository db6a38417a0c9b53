import type { DescService } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import { about, disagreements, type Problem, problemsWithMalformed } from "./checks.ts";
import { rpcsOf } from "./descriptors.ts";
import { malformedQuery } from "./generator/malformed.ts";
import { sendHttp } from "./protocols/http.ts";
import { routesOf } from "./routes.ts";

const verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** What HTTP asks of the routes of a server, whichever RPC they lead to. */
export function describeRoutes(services: readonly DescService[], baseUrl: string): void {
  const routes = rpcsOf(services).flatMap((rpc) => routesOf(rpc).map((route) => ({ rpc, ...route })));
  const plain = routes.filter(({ path }) => !path.includes("{"));

  describe(`the routes of ${services.map(({ name }) => name).join(", ")}`, () => {
    test.each([...new Set(plain.map(({ path }) => path))])(
      "%s answers other verbs with those that it has",
      async (path) => {
        const declared = plain.filter((route) => route.path === path).map(({ verb }) => verb);
        for (const verb of verbs.filter((other) => !declared.includes(other))) {
          const response = await fetch(baseUrl + path, { method: verb });
          const allowed = response.headers.get("allow")?.split(/, */) ?? [];
          expect({ verb, status: response.status, allowed }).toEqual({
            verb,
            status: 405,
            allowed: expect.arrayContaining(declared) as string[],
          });
        }
      },
    );

    const withQuery = plain.filter(({ verb }) => verb === "GET").map(({ path, rpc }) => ({ path, rpc }));
    test.each(withQuery)(
      "GET $path refuses a query that cannot be read, and ignores what it does not know",
      async (route) => {
        const { path, rpc } = route;
        const ask = (query: string) => sendHttp(rpc, `${baseUrl}${path}?${query}`, { method: "GET" });
        const problems: Problem[] = [];
        for (const one of malformedQuery(rpc.input)) {
          problems.push(...about(one, problemsWithMalformed(await ask(Buffer.from(one.bytes).toString()), one)));
        }
        problems.push(...disagreements(rpc, await ask("no_such_field=1&no.such.field=2"), await ask("")));
        expect(problems).toEqual([]);
      },
    );
  });
}
