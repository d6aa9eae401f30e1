import { describe, expect, test } from "vitest";
import { addDays, addMonths, endOfMonth, isDay, lengthDays, startOfWeek, todayIn, wallClock } from "../../web/model/dates";

describe("days", () => {
  test.each([
    ["2026-02-28", 1, "2026-03-01"],
    ["2024-02-28", 1, "2024-02-29"],
    ["2026-01-01", -1, "2025-12-31"],
    // Both sides of a change of the clock: a day is a day.
    ["2026-03-28", 2, "2026-03-30"],
  ])("%s + %i days = %s", (day, days, expected) => expect(addDays(day, days)).toBe(expected));

  test.each([
    ["2026-03-31", -1, "2026-02-28"],
    ["2024-02-29", -12, "2023-02-28"],
    ["2026-12-15", 1, "2027-01-15"],
  ])("%s + %i months = %s", (day, months, expected) => expect(addMonths(day, months)).toBe(expected));

  test.each([
    ["2026-11-21", "2026-11-16"],
    ["2026-11-16", "2026-11-16"],
    ["2026-11-22", "2026-11-16"],
  ])("the week of %s begins on Monday, %s", (day, monday) => expect(startOfWeek(day)).toBe(monday));

  test("ends and lengths count both days", () => {
    expect(endOfMonth("2024-02-10")).toBe("2024-02-29");
    expect(lengthDays({ from: "2026-03-01", to: "2026-03-31" })).toBe(31);
  });

  test.each(["2026-02-30", "2026-13-01", "21.11.2026", "", "2026-1-1"])("%s is no day", (text) => expect(isDay(text)).toBe(false));
});

describe("the site's clock", () => {
  const now = new Date("2026-11-21T23:30:05Z");
  test.each([
    ["Europe/Berlin", "2026-11-22 00:30:05"],
    ["Asia/Kolkata", "2026-11-22 05:00:05"],
    ["America/New_York", "2026-11-21 18:30:05"],
  ])("in %s it is %s", (zone, expected) => expect(wallClock(zone, now)).toBe(expected));

  test("today is the site's day, not the browser's", () => {
    expect(todayIn("Pacific/Kiritimati", now)).toBe("2026-11-22");
    expect(todayIn("Pacific/Honolulu", now)).toBe("2026-11-21");
  });

  test("an unknown zone falls back to the browser's own clock", () => {
    expect(wallClock("Nowhere/Atall", now)).toMatch(/^2026-11-2\d \d\d:\d\d:05$/);
  });
});
