import { describe, expect, test } from "vitest";
import { type Comparison, type Period, compared, intervals, latestRange, resolve, step } from "../../web/model/period";

const today = "2026-11-21";

function check(period: Period, comparison: Comparison, range: string, before: string | null): void {
  const resolved = resolve(period, today);
  expect(`${resolved?.from} ${resolved?.to}`).toBe(range);
  const other = compared(period, resolved, comparison);
  expect(other && `${other.from} ${other.to}`).toBe(before);
}

describe("periods and what they are compared with", () => {
  test("today with yesterday", () => check({ name: "day" }, "previous_period", "2026-11-21 2026-11-21", "2026-11-20 2026-11-20"));
  test("last days end yesterday", () => check({ name: "7d" }, "previous_period", "2026-11-14 2026-11-20", "2026-11-07 2026-11-13"));
  test("28 days", () => check({ name: "28d" }, "previous_period", "2026-10-24 2026-11-20", "2026-09-26 2026-10-23"));
  test("month to date with the same days of the month before", () =>
    check({ name: "month" }, "previous_period", "2026-11-01 2026-11-21", "2026-10-01 2026-10-21"));
  test("year to date with the same days of the year before", () =>
    check({ name: "year" }, "previous_period", "2026-01-01 2026-11-21", "2025-01-01 2025-11-21"));
  test("twelve whole months with the twelve before", () =>
    check({ name: "12mo" }, "previous_period", "2025-11-01 2026-10-31", "2024-11-01 2025-10-31"));
  test("any range with as many days before it", () =>
    check({ name: "custom", from: "2026-03-01", to: "2026-03-10" }, "previous_period", "2026-03-01 2026-03-10", "2026-02-19 2026-02-28"));
  test("the year before", () => check({ name: "yesterday" }, "year_over_year", "2026-11-20 2026-11-20", "2025-11-20 2025-11-20"));
  test("no comparison", () => check({ name: "7d" }, "none", "2026-11-14 2026-11-20", null));

  test("all time has neither range nor comparison", () => {
    expect(resolve({ name: "all" }, today)).toBeNull();
    expect(compared({ name: "all" }, null, "previous_period")).toBeNull();
  });

  test("the last day of a long month is compared with the last of a shorter one", () => {
    const range = resolve({ name: "month" }, "2026-03-31")!;
    expect(compared({ name: "month" }, range, "previous_period")).toEqual({ from: "2026-02-01", to: "2026-02-28" });
  });

  test("a leap day is compared with 28 February", () => {
    const range = { from: "2024-02-29", to: "2024-02-29" };
    expect(compared({ name: "custom", ...range }, range, "year_over_year")).toEqual({ from: "2023-02-28", to: "2023-02-28" });
  });
});

describe("stepping", () => {
  test("moves by the range's own length", () =>
    expect(step({ from: "2026-11-14", to: "2026-11-20" }, -1)).toEqual({ from: "2026-11-07", to: "2026-11-13" }));
  test("keeps whole months whole", () => {
    expect(step({ from: "2026-03-01", to: "2026-03-31" }, -1)).toEqual({ from: "2026-02-01", to: "2026-02-28" });
    expect(step({ from: "2026-02-01", to: "2026-02-28" }, 1)).toEqual({ from: "2026-03-01", to: "2026-03-31" });
    expect(step({ from: "2025-11-01", to: "2026-10-31" }, -1)).toEqual({ from: "2024-11-01", to: "2025-10-31" });
  });
});

test.each([
  ["2026-11-21", "2026-11-21", "hour"],
  ["2026-11-14", "2026-11-20", "day"],
  ["2026-09-01", "2026-11-20", "day"],
  ["2026-06-01", "2026-11-20", "week"],
  ["2025-11-01", "2026-10-31", "month"],
  ["2015-01-01", "2026-10-31", "month"],
])("%s to %s is drawn by the %s", (from, to, interval) => expect(intervals({ from, to })[0]).toBe(interval));

describe("the latest days with visits", () => {
  test("are at most 28", () => {
    expect(latestRange(["2015-05-20", "2015-05-17", "2015-05-18"])).toEqual({ from: "2015-05-17", to: "2015-05-20" });
    expect(latestRange(["2015-05-20", "2015-01-01"])).toEqual({ from: "2015-05-20", to: "2015-05-20" });
  });
  test("of no days are none", () => expect(latestRange([])).toBeNull());
});
