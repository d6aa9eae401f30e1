// Numbers, times and names for people. The page is English, so its numbers are, too: an English locale of
// the visitor's if there is one.

import type { Interval } from "./period";
import type { Range } from "./dates";

const languages = typeof navigator === "undefined" ? [] : navigator.languages;
export const locale = languages.find((language) => language.startsWith("en-")) ?? "en-GB";

export type Kind = "count" | "percent" | "seconds";

const compactFrom = 100_000;
const compactAxisFrom = 10_000;
const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 3 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const finePercent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });

export const dash = "–";

/** A value in full. */
export function full(value: number | null | undefined, kind: Kind = "count"): string {
  if (value == null) return dash;
  if (kind === "percent") return percent.format(value / 100);
  if (kind === "seconds") return duration(value);
  return plain.format(value);
}

/** A value where there is little room. */
export function short(value: number | null | undefined, kind: Kind = "count"): string {
  return kind === "count" && value != null && Math.abs(value) >= compactFrom ? compact.format(value) : full(value, kind);
}

/** Values along an axis, all written alike. */
export function axis(values: number[], kind: Kind): string[] {
  const isWide = kind === "count" && values.some((value) => value >= compactAxisFrom);
  return values.map((value) => (isWide ? compact.format(value) : full(value, kind)));
}

/** Seconds as "8s", "1m 05s", "2h 03m". */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const pad = (number: number): string => String(number).padStart(2, "0");
  if (total < 60) return `${total}s`;
  if (total < 3600) return `${Math.floor(total / 60)}m ${pad(total % 60)}s`;
  return `${Math.floor(total / 3600)}h ${pad(Math.floor((total % 3600) / 60))}m`;
}

/** A part of a whole, "12%"; "0.4%" below one, so that a row with visitors never reads 0 %. */
export function share(part: number, whole: number): string {
  if (whole <= 0) return dash;
  const ratio = Math.min(1, part / whole);
  return ratio > 0 && ratio < 0.01 ? finePercent.format(Math.max(ratio, 0.001)) : percent.format(ratio);
}

/** How far off an estimate may be, in 19 of 20 cases: two standard errors, "±3.3%". */
export function margin(relativeStandardError: number): string {
  return "±" + finePercent.format(2 * relativeStandardError);
}

const changeLimit = 999;

/**
 * A change as the API tells it: percent of what was before ("+12%"), of a rate the difference in points
 * ("−4 pts"). Larger changes stay at 999.
 */
export function changeText(value: number, kind: Kind = "count"): string {
  const capped = Math.min(changeLimit, Math.abs(Math.round(value)));
  const sign = capped === 0 ? "" : value > 0 ? "+" : "−";
  return kind === "percent" ? `${sign}${capped} ${capped === 1 ? "pt" : "pts"}` : `${sign}${capped}%`;
}

const at = (label: string): Date => new Date(label.slice(0, 10) + "T" + (label.slice(11) || "00:00:00") + "Z");
const date = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
  new Intl.DateTimeFormat(locale, { timeZone: "UTC", ...options });

const dayMonth = date({ day: "numeric", month: "short" });
const dayMonthYear = date({ day: "numeric", month: "short", year: "numeric" });
const weekday = date({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const monthYear = date({ month: "long", year: "numeric" });
const monthShort = date({ month: "short" });
const monthShortYear = date({ month: "short", year: "2-digit" });

/** A bucket's name in a sentence. */
export function bucket(label: string, interval: Interval): string {
  if (interval === "hour") return `${weekday.format(at(label))}, ${label.slice(11, 16)}`;
  if (interval === "day") return weekday.format(at(label));
  if (interval === "week") return `Week of ${dayMonthYear.format(at(label))}`;
  return monthYear.format(at(label));
}

/** A bucket's name under the axis. A month's carries the year in January, or `withYear`. */
export function tick(label: string, interval: Interval, isOneDay: boolean, withYear: boolean): string {
  if (interval === "hour") return isOneDay || !label.endsWith("00:00:00") ? label.slice(11, 16) : dayMonth.format(at(label));
  if (interval === "month") return (withYear || label.slice(5, 7) === "01" ? monthShortYear : monthShort).format(at(label));
  return dayMonth.format(at(label));
}

/** "21 Nov 2026", "1 – 20 Nov 2026". */
export function days(range: Range): string {
  if (range.from === range.to) return dayMonthYear.format(at(range.from));
  return dayMonthYear.formatRange(at(range.from), at(range.to));
}

const regions = new Intl.DisplayNames([locale], { type: "region", fallback: "code" });

/** A country's name by its two-letter code. */
export function country(code: string): string {
  try {
    return /^[A-Z]{2}$/.test(code) ? (regions.of(code) ?? code) : code;
  } catch {
    // Not a region code at all: shown as it came.
    return code;
  }
}
