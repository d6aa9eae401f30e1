import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { scriptUrl } from "./browser.mjs";

const scriptBytesMax = 2_048;

test(`the script fits into ${scriptBytesMax} bytes, minified and gzipped`, () => {
  // Level 6 is what servers use: the bytes that really travel.
  const bytes = gzipSync(readFileSync(scriptUrl), { level: 6 }).length;
  assert.ok(bytes <= scriptBytesMax, `${bytes} bytes`);
});
