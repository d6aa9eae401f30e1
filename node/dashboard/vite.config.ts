import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: "web",
  plugins: [solid()],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    // The page's Content-Security-Policy allows files of its own only.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: true,
  },
  test: {
    root: ".",
    include: ["tests/unit/**/*.test.ts"],
    environment: "node",
  },
});
