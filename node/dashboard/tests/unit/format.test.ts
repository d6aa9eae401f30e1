import { describe, expect, test } from "vitest";
import { axis, bucket, changeText, country, duration, full, margin, share, short, tick } from "../../web/model/format";

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

test("an axis is written in one way", () => {
  expect(axis([0, 5_000], "count")).toEqual(["0", "5,000"]);
  expect(axis([0, 50_000, 100_000], "count").map((text) => text.toUpperCase())).toEqual(["0", "50K", "100K"]);
});

test("a month carries its year in January, or where it is asked for", () => {
  expect(tick("2025-06-01", "month", false, true)).toMatch(/25/);
  expect(tick("2025-07-01", "month", false, false)).not.toMatch(/25/);
  expect(tick("2026-01-01", "month", false, false)).toMatch(/26/);
});

test("an estimate says how far off it may be", () => expect(margin(0.0163)).toBe("±3.3%"));

test("hours over several days are told apart by the day at midnight", () => {
  expect(tick("2026-11-21 00:00:00", "hour", false, false)).toMatch(/21/);
  expect(tick("2026-11-21 06:00:00", "hour", false, false)).toBe("06:00");
});

describe("change", () => {
  test.each([
    [12, "count", "+12%"],
    [-4, "seconds", "−4%"],
    [0, "count", "0%"],
    [5_000, "count", "+999%"],
    [7.25, "percent", "+7 pts"],
    [-1.2, "percent", "−1 pt"],
    [0.2, "percent", "0 pts"],
  ] as const)("of %d (%s) reads %s", (value, kind, text) => expect(changeText(value, kind)).toBe(text));
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
  expect(tick("2026-11-21 23:00:00", "hour", true, false)).toBe("23:00");
  expect(bucket("2026-11-01", "month")).toBe("November 2026");
});
