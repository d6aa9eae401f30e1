import { describe, expect, test } from "vitest";
import { type TimeRow, align, bucketLabels } from "../../web/model/series";

const row = (label: string, ...metrics: (number | null)[]): TimeRow => ({ dimensions: [label], metrics });
const end = "2030-01-01 00:00:00";

describe("buckets", () => {
  test("of hours", () => {
    const labels = bucketLabels({ from: "2026-11-20", to: "2026-11-21" }, "hour");
    expect(labels).toHaveLength(48);
    expect(labels[25]).toBe("2026-11-21 01:00:00");
  });
  test("of weeks begin on Monday, even before the range", () =>
    expect(bucketLabels({ from: "2026-11-18", to: "2026-11-24" }, "week")).toEqual(["2026-11-16", "2026-11-23"]));
  test("of months", () => expect(bucketLabels({ from: "2026-01-31", to: "2026-03-01" }, "month")).toEqual(["2026-01-01", "2026-02-01", "2026-03-01"]));
});

describe("aligning", () => {
  const labels = ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"];

  test("buckets without a row are empty, and nothing is known of the future", () => {
    const series = align({ labels, rows: [row("2026-11-20", 5, 50)] }, "day", 0, 0, "2026-11-21 10:00:00");
    expect(series.values).toEqual([0, 5, 0, null]);
    expect(series.comparison).toEqual([null, null, null, null]);
    expect(series.openAt).toBe(2);
  });

  test("a rate has no value without visits", () =>
    expect(align({ labels, rows: [row("2026-11-20", 5, 50)] }, "day", 1, null, end).values).toEqual([null, 50, null, null]));

  test("the comparison stands beside its bucket even where the present has none", () => {
    const comparison = { labels: ["2026-10-01", "2026-10-02", "2026-10-03"], rows: [row("2026-10-01", 7), row("2026-10-03", 9)] };
    const series = align({ labels, rows: [row("2026-11-20", 5)], comparison }, "day", 0, 0, end);
    expect(series.comparison).toEqual([7, 0, 9, null]);
    expect(series.comparisonLabels).toEqual(["2026-10-01", "2026-10-02", "2026-10-03", null]);
  });

  test("an hour that the clock shows twice is two buckets", () => {
    const labels = ["2026-10-25 01:00:00", "2026-10-25 02:00:00", "2026-10-25 02:00:00", "2026-10-25 03:00:00"];
    expect(align({ labels, rows: labels.map((label, at) => row(label, at + 1)) }, "hour", 0, 0, end).values).toEqual([1, 2, 3, 4]);
  });

  test("a longer comparison is cut", () => {
    const comparison = { labels: ["a", "b", "c"], rows: [row("c", 1)] };
    expect(align({ labels: ["2026-11-19"], rows: [], comparison }, "day", 0, 0, end).comparison).toEqual([0]);
  });

  test.each([
    ["hour", ["2026-11-21 09:00:00", "2026-11-21 10:00:00"], 1],
    ["week", ["2026-11-09", "2026-11-16"], 1],
    ["month", ["2026-10-01", "2026-11-01"], 1],
    ["month", ["2026-09-01", "2026-10-01"], null],
  ] as const)("the open %s of %j is %s", (interval, labels, openAt) =>
    expect(align({ labels: [...labels], rows: [] }, interval, 0, 0, "2026-11-21 10:59:59").openAt).toBe(openAt));
});
