// Writes `auth-profiles.json` as Clawdbot of January 2026 does: whole, in place, under a `proper-lockfile` lock with
// Clawdbot's options, and on command without it. One JSON command a line on standard input, one JSON answer a line on
// standard output.
import fs from "node:fs";
import readline from "node:readline";
import lockfile from "proper-lockfile";

const store = process.argv[2];
const options = {
  retries: { retries: 10, factor: 2, minTimeout: 100, maxTimeout: 10_000, randomize: true },
  stale: 30_000,
};

let unlock; // the lock that `lock` took
let loaded; // the copy that `load` keeps and `save` writes back, however old it is
let torn = 0; // how often a file read under the lock did not parse
let compromised = 0; // how often the lock was taken from us while we held it

// Clawdbot leaves the default, which ends the process; we go on, to count.
const watch = { onCompromised: () => { compromised += 1; } };

function read() {
  try {
    return JSON.parse(fs.readFileSync(store, "utf8"));
  } catch {
    torn += 1;
    return undefined;
  }
}

// What Clawdbot keeps of a store when it saves one.
function write({ profiles, order, lastGood, usageStats }) {
  fs.writeFileSync(store, `${JSON.stringify({ version: 1, profiles, order, lastGood, usageStats }, null, 2)}\n`);
}

function count(id) {
  const data = read();
  if (!data) return false;
  data.usageStats ??= {};
  data.usageStats[id] ??= {};
  data.usageStats[id].errorCount = (data.usageStats[id].errorCount ?? 0) + 1;
  write(data);
  return true;
}

// One update under the lock; says from when to when it was held, by the clock that all processes share.
async function locked(id, holdMs) {
  let release;
  try {
    release = await lockfile.lock(store, { ...options, ...watch });
  } catch (error) {
    return { failed: error.code ?? String(error) };
  }
  const from = process.hrtime.bigint();
  const done = count(id);
  if (holdMs) await new Promise((resolve) => { setTimeout(resolve, holdMs); });
  const to = process.hrtime.bigint();
  try {
    await release();
  } catch (error) {
    return { done, from: String(from), to: String(to), release: error.code };
  }
  return { done, from: String(from), to: String(to) };
}

// `times` updates that all have to succeed in the end. Where Clawdbot would save without the lock, this one counts a
// failure and tries once more.
async function counted(id, times) {
  let failures = 0;
  for (let done = 0; done < times;) {
    const result = await locked(id, 0);
    if (result.failed) failures += 1;
    else if (result.done) done += 1;
  }
  return { failures };
}

const commands = {
  hello: () => ({}),
  update: ({ id, holdMs }) => locked(id, holdMs),
  count: ({ id, times }) => counted(id, times),
  lock: async () => {
    try {
      unlock = await lockfile.lock(store, { ...options, ...watch });
      return {};
    } catch (error) {
      return { failed: error.code ?? String(error) };
    }
  },
  unlock: async () => {
    try {
      await unlock();
      return {};
    } catch (error) {
      return { failed: error.code ?? String(error) };
    }
  },
  load: () => { loaded = read(); return {}; },
  save: () => { write(loaded); return {}; },
  // An update as Clawdbot makes it on the paths that never lock.
  unlocked: ({ id }) => ({ done: count(id) }),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = await commands[command.op](command);
  process.stdout.write(`${JSON.stringify({ ...answer, torn, compromised })}\n`);
}
process.exit(0);
