// Which days a report covers, what they are compared with, and how finely they can be drawn.

import { type Day, type Range, addDays, addMonths, endOfMonth, lengthDays, startOfMonth, startOfYear } from "./dates";

export const periods = [
  { name: "day", label: "Today" },
  { name: "yesterday", label: "Yesterday" },
  { name: "7d", label: "Last 7 days" },
  { name: "28d", label: "Last 28 days" },
  { name: "30d", label: "Last 30 days" },
  { name: "91d", label: "Last 91 days" },
  { name: "month", label: "Month to date" },
  { name: "year", label: "Year to date" },
  { name: "12mo", label: "Last 12 months" },
  { name: "all", label: "All time" },
] as const;

export type PeriodName = (typeof periods)[number]["name"];

export type Period = { name: PeriodName } | ({ name: "custom" } & Range);

export const comparisons = [
  { name: "previous_period", label: "vs previous period" },
  { name: "year_over_year", label: "vs year before" },
  { name: "none", label: "No comparison" },
] as const;

export type Comparison = (typeof comparisons)[number]["name"];

export type Interval = "hour" | "day" | "week" | "month";

/** The days of a period; `null` for all time, whose beginning only the node knows. */
export function resolve(period: Period, today: Day): Range | null {
  const yesterday = addDays(today, -1);
  switch (period.name) {
    case "custom":
      return { from: period.from, to: period.to };
    case "all":
      return null;
    case "day":
      return { from: today, to: today };
    case "yesterday":
      return { from: yesterday, to: yesterday };
    case "month":
      return { from: startOfMonth(today), to: today };
    case "year":
      return { from: startOfYear(today), to: today };
    case "12mo":
      // Whole months, without the current one.
      return { from: addMonths(startOfMonth(today), -12), to: addDays(startOfMonth(today), -1) };
    default:
      // Whole days, without today.
      return { from: addDays(today, -Number.parseInt(period.name, 10)), to: yesterday };
  }
}

/** The days that a range is compared with; `null` if there are none. */
export function compared(period: Period, range: Range | null, comparison: Comparison): Range | null {
  if (!range || comparison === "none") return null;
  if (comparison === "year_over_year") return shiftMonths(range, -12);
  switch (period.name) {
    case "month": {
      // The same first days of the month before, which may be a shorter one.
      const before = shiftMonths(range, -1);
      return { from: before.from, to: before.to < endOfMonth(before.from) ? before.to : endOfMonth(before.from) };
    }
    case "year":
      return shiftMonths(range, -12);
    case "12mo":
      return { from: addMonths(range.from, -12), to: addDays(range.from, -1) };
    default: {
      const days = lengthDays(range);
      return { from: addDays(range.from, -days), to: addDays(range.from, -1) };
    }
  }
}

const shiftMonths = (range: Range, months: number): Range => ({
  from: addMonths(range.from, months),
  to: addMonths(range.to, months),
});

/** The range beside this one, of the same length, earlier (-1) or later (1). Whole months stay whole months. */
export function step(range: Range, direction: -1 | 1): Range {
  if (range.from === startOfMonth(range.from) && range.to === endOfMonth(range.to)) {
    const months = monthsIn(range) * direction;
    return { from: addMonths(range.from, months), to: endOfMonth(addMonths(startOfMonth(range.to), months)) };
  }
  const days = lengthDays(range) * direction;
  return { from: addDays(range.from, days), to: addDays(range.to, days) };
}

const monthsIn = (range: Range): number =>
  (Number(range.to.slice(0, 4)) - Number(range.from.slice(0, 4))) * 12 +
  Number(range.to.slice(5, 7)) -
  Number(range.from.slice(5, 7)) +
  1;

/** Intervals that make a readable line, the usual one first. */
export function intervals(range: Range): [Interval, ...Interval[]] {
  const days = lengthDays(range);
  if (days === 1) return ["hour"];
  if (days <= 7) return ["day", "hour"];
  if (days <= 31) return ["day"];
  if (days <= 92) return ["day", "week"];
  if (days <= 200) return ["week", "day", "month"];
  if (days <= 750) return ["month", "week", "day"];
  return ["month", "week"];
}

const recentDaysMax = 28;

/** The latest days with visits, out of days in any order: where to look on a site that has been quiet since. */
export function latestRange(days: Day[]): Range | null {
  const last = days.reduce((latest, day) => (day > latest ? day : latest), "");
  if (!last) return null;
  const earliest = addDays(last, 1 - recentDaysMax);
  const from = days.reduce((first, day) => (day >= earliest && day < first ? day : first), last);
  return { from, to: last };
}
