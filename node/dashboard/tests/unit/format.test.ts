import { describe, expect, test } from "vitest";
import { bucket, change, changeText, country, duration, full, share, short, tick } from "../../web/model/format";

test.each([
  [0, "0s"],
  [59.6, "1m 00s"],
  [65, "1m 05s"],
  [3_599, "59m 59s"],
  [7_380, "2h 03m"],
])("%d seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));

describe("numbers", () => {
  test("are in full until there is no room", () => {
    expect(short(99_999)).toBe("99,999");
    expect(short(1_234_567)).toMatch(/^1\.23M$/i);
    expect(full(1_234_567)).toBe("1,234,567");
  });
  test("that do not exist are a dash", () => expect(full(null)).toBe("–"));
  test("of a kind", () => {
    expect(full(46.4, "percent")).toBe("46%");
    expect(full(61, "seconds")).toBe("1m 01s");
  });
});

describe("change", () => {
  test.each([
    [112, 100, "+12%"],
    [96, 100, "−4%"],
    [100, 100, "0%"],
    [5_000, 1, "+999%"],
  ])("from %d after %d reads %s", (now, before, text) => expect(changeText(change(now, before)!)).toBe(text));
  test("from nothing is none", () => {
    expect(change(5, 0)).toBeNull();
    expect(change(null, 5)).toBeNull();
  });
});

describe("parts", () => {
  test.each([
    [25, 100, "25%"],
    [4, 1_000, "0.4%"],
    [1, 1_000_000, "0.1%"],
    [0, 10, "0%"],
    [11, 10, "100%"],
    [1, 0, "–"],
  ])("%d of %d is %s", (part, whole, text) => expect(share(part, whole)).toBe(text));
});

test("countries have names, and unknown codes stay as they came", () => {
  expect(country("DE")).toBe("Germany");
  expect(country("ZZZ")).toBe("ZZZ");
});

test("times are the site's, whatever the browser's zone is", () => {
  expect(bucket("2026-11-21 23:00:00", "hour")).toMatch(/21.*23:00$/);
  expect(tick("2026-11-21 23:00:00", "hour", true)).toBe("23:00");
  expect(bucket("2026-11-01", "month")).toBe("November 2026");
});
