// A real node in a directory of its own: started, asked and stopped like any other.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);
const startMsMax = 60_000;
const stopMsMax = 30_000;

function binary() {
  const path = process.env.RINGTAIL_BIN;
  if (!path || !existsSync(path)) {
    throw new Error("RINGTAIL_BIN must name a built `ringtail`: cargo build -p ringtail-server, then RINGTAIL_BIN=target/debug/ringtail");
  }
  return path;
}

export async function startNode() {
  const program = binary();
  const directory = await mkdtemp(join(tmpdir(), "ringtail-browser-"));
  const process_ = spawn(program, ["serve", "--data-dir", directory, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  process_.stderr.on("data", (data) => (log = (log + data).slice(-20_000)));
  const exited = once(process_, "exit");

  const line = await Promise.race([
    once(createInterface(process_.stdout), "line").then(([line]) => line),
    exited.then(([code]) => Promise.reject(new Error(`the node ended with ${code} before it was ready:\n${log}`))),
    after(startMsMax).then(() => Promise.reject(new Error(`the node was not ready within ${startMsMax} ms:\n${log}`))),
  ]);
  const url = "http://" + JSON.parse(line).http;
  const token = (await readFile(join(directory, "admin.token"), "utf8")).trim();

  return {
    url,
    token,
    /** Runs a command of the binary against this node and reads its JSON. */
    async cli(...words) {
      const { stdout } = await run(binary(), [...words, "--json", "--server", url, "--token", token], { maxBuffer: 1 << 24 });
      return JSON.parse(stdout);
    },
    async query(body) {
      const response = await fetch(url + "/api/v2/query", {
        method: "POST",
        headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(`query answered ${response.status}: ${JSON.stringify(answer)}`);
      return answer;
    },
    /** Drains the node and removes what it stored. Gives its exit code. */
    async stop() {
      process_.kill("SIGTERM");
      const [code] = await Promise.race([
        exited,
        after(stopMsMax).then(() => {
          process_.kill("SIGKILL");
          throw new Error(`the node did not stop within ${stopMsMax} ms:\n${log}`);
        }),
      ]);
      await rm(directory, { recursive: true, force: true });
      return code;
    },
  };
}

function after(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
