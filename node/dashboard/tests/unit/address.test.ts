import { describe, expect, test } from "vitest";
import { readAddress, takeToken, writeAddress } from "../../web/model/address";

const read = (path: string) => readAddress(new URL(path, "http://node"));

test.each([
  "/example.com",
  "/example.com?period=day",
  "/example.com?from=2026-01-01&to=2026-02-01&compare=year_over_year&metric=bounce_rate&interval=week",
  "/example.com?compare=none",
  "/",
])("%s is read and written alike", (path) => expect(writeAddress(read(path))).toBe(path));

describe("what is wrong in an address", () => {
  test("is left out", () =>
    expect(writeAddress(read("/example.com?period=9y&compare=x&metric=y&interval=z&from=2026-02-30&to=2026-03-01"))).toBe("/example.com"));
  test("is put in order", () => expect(read("/a?from=2026-02-01&to=2026-01-01").period).toEqual({ name: "custom", from: "2026-01-01", to: "2026-02-01" }));
  test("names no site", () => expect(read("/%E0%A4%A").domain).toBeNull());
});

describe("a token in the fragment", () => {
  test("is taken out", () => {
    expect(takeToken(new URL("http://node/a?period=day#token=s3cret"))).toEqual({ token: "s3cret", rest: "/a?period=day" });
    expect(takeToken(new URL("http://node/#token=s3cret&x=1"))).toEqual({ token: "s3cret", rest: "/#x=1" });
  });
  test("need not be there", () => expect(takeToken(new URL("http://node/a#x=1"))).toBeNull());
  test("is never read from the query, which ends up in logs", () => expect(takeToken(new URL("http://node/?token=s3cret"))).toBeNull());
});
