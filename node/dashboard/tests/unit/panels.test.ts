import { expect, test } from "vitest";
import { listRows, panels } from "../../web/model/panels";

const tab = (dimension: string) => panels.flatMap((panel) => panel.tabs).find((tab) => tab.dimension === dimension)!;

test("the remainder is last and says what it is, however large", () => {
  const rows = listRows(tab("event:page"), [
    { dimensions: ["(other)"], metrics: [900, 1] },
    { dimensions: ["/"], metrics: [10, 1] },
  ]);
  expect(rows.map((row) => [row.label, row.isRemainder])).toEqual([
    ["/", false],
    ["All others together", true],
  ]);
});

test("values read as people know them", () => {
  expect(listRows(tab("visit:country"), [{ dimensions: ["FR"], metrics: [1] }])[0]!.label).toBe("France");
  expect(listRows(tab("visit:country"), [{ dimensions: ["(not set)"], metrics: [1] }])[0]!.label).toBe("Unknown");
  expect(listRows(tab("visit:source"), [{ dimensions: [""], metrics: [1] }])[0]!.label).toBe("Direct / None");
});

test("no dimension is asked twice", () => {
  const all = panels.flatMap((panel) => panel.tabs.map((tab) => tab.dimension));
  expect(new Set(all).size).toBe(all.length);
});
