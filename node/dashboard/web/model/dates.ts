// Calendar arithmetic on plain days ("2026-11-21"). A day belongs to the site's zone, so nothing here may
// look at the browser's own; UTC serves as a calendar without daylight saving.

export type Day = string;

export interface Range {
  from: Day;
  /** Included. */
  to: Day;
}

const dayMs = 86_400_000;

const parse = (day: Day): Date => new Date(day + "T00:00:00Z");
const print = (date: Date): Day => date.toISOString().slice(0, 10);

export const isDay = (text: string): boolean =>
  /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(parse(text).getTime()) && print(parse(text)) === text;

export const addDays = (day: Day, days: number): Day => print(new Date(parse(day).getTime() + days * dayMs));

/** The same day of another month; the month's last day if it has no such day. */
export function addMonths(day: Day, months: number): Day {
  const date = parse(day);
  const dayOfMonth = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months);
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(dayOfMonth, last));
  return print(date);
}

export const startOfMonth = (day: Day): Day => day.slice(0, 8) + "01";
export const startOfYear = (day: Day): Day => day.slice(0, 5) + "01-01";
export const endOfMonth = (day: Day): Day => addDays(addMonths(startOfMonth(day), 1), -1);

/** The Monday of the day's week. */
export const startOfWeek = (day: Day): Day => addDays(day, -((parse(day).getUTCDay() + 6) % 7));

/** Days in a range, both ends counted. */
export const lengthDays = (range: Range): number =>
  Math.round((parse(range.to).getTime() - parse(range.from).getTime()) / dayMs) + 1;

/** The wall clock of a zone, as the API writes times: "2026-11-21 13:05:00". */
export function wallClock(zone: string, now: Date): string {
  const options: Intl.DateTimeFormatOptions = {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  };
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-CA", { ...options, timeZone: zone });
  } catch {
    // A zone younger than this browser: its own clock is nearer than nothing.
    format = new Intl.DateTimeFormat("en-CA", options);
  }
  const part = Object.fromEntries(format.formatToParts(now).map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second}`;
}

export const todayIn = (zone: string, now: Date): Day => wallClock(zone, now).slice(0, 10);
