// Builds dist/ringtail.js: one classic script, minified, for every browser since 2017.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("web/ringtail.ts")],
  outfile: here("dist/ringtail.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2017",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
