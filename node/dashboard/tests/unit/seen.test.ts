import { afterEach, expect, test, vi } from "vitest";
import { Client } from "../../web/api/client";
import type { Query } from "../../web/api/types";

const query: Query = { site_id: "a.test", metrics: ["visitors"], date_range: "all" };

/** A node that answers each question with the next of these; what it was asked. */
function node(answers: { status?: number; session?: string }[]): Query[] {
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

test("each question goes on from its own last answer", async () => {
  const asked = node([{ session: "total 1" }, { session: "line 1" }, { session: "other 1" }, { session: "total 2" }, {}, {}]);
  const client = new Client("key", () => undefined);
  const line: Query = { ...query, dimensions: ["time"] };
  const signal = new AbortController().signal;
  await client.query(query, signal);
  await client.query(line, signal);
  await ask(client, "b.test");
  await client.query(query, signal);
  await client.query(query, signal);
  await client.query(line, signal);
  const sessions = asked.map((query) => query.session);
  expect(sessions).toEqual([undefined, undefined, undefined, "total 1", "total 2", "line 1"]);
});

test("a session that is refused is forgotten, and the question asked without it", async () => {
  const asked = node([{ session: "seven" }, { status: 400 }, {}, { status: 400 }]);
  const client = new Client("key", () => undefined);
  await ask(client, "a.test");
  await ask(client, "a.test");
  expect(asked.map((query) => query.session)).toEqual([undefined, "seven", undefined]);
  await expect(ask(client, "a.test")).rejects.toThrow("refused");
  expect(asked).toHaveLength(4);
});
