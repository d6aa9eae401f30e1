import { afterEach, expect, test, vi } from "vitest";
import { Client } from "../../web/api/client";
import type { Query } from "../../web/api/types";

const query: Query = { site_id: "a.test", metrics: ["visitors"], date_range: "all" };

/** A node that answers each question with the next of these; what it was asked. */
function node(answers: { status?: number; index?: number; session?: string }[]): Query[] {
  const asked: Query[] = [];
  vi.stubGlobal("fetch", async (_path: string, request: RequestInit) => {
    asked.push(JSON.parse(request.body as string) as Query);
    const { status = 200, ...meta } = answers[asked.length - 1] ?? {};
    return new Response(JSON.stringify({ results: [], meta, error: "refused" }), { status });
  });
  return asked;
}

const ask = (client: Client, site: string) => client.query({ ...query, site_id: site }, new AbortController().signal);

afterEach(() => vi.unstubAllGlobals());

test("each site's furthest session goes with its next question", async () => {
  const asked = node([{ index: 7, session: "seven" }, { index: 5, session: "five" }, { index: 9, session: "other" }, {}]);
  const client = new Client("key", () => undefined);
  await ask(client, "a.test");
  await ask(client, "a.test");
  await ask(client, "b.test");
  await ask(client, "a.test");
  expect(asked.map((query) => query.session)).toEqual([undefined, "seven", undefined, "seven"]);
});

test("a session that is refused is forgotten, and the question asked without it", async () => {
  const asked = node([{ index: 7, session: "seven" }, { status: 400 }, {}, { status: 400 }]);
  const client = new Client("key", () => undefined);
  await ask(client, "a.test");
  await ask(client, "a.test");
  expect(asked.map((query) => query.session)).toEqual([undefined, "seven", undefined]);
  await expect(ask(client, "a.test")).rejects.toThrow("refused");
  expect(asked).toHaveLength(4);
});
