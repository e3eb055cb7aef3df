// What `JSON.parse` makes of files, and of our edits of them. One job a line on standard input; for each a line on
// standard output: `{}` if JavaScript sees what we see, else `{"wrong": …}`.
import readline from "node:readline";

const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const name = (text) => text.replace(HALF, (half) => "\\u" + half.charCodeAt(0).toString(16));
const text = (value) => value.replace(HALF, "\ufffd");

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const members = (value) => (isObject(value) ? Object.entries(value) : []);
// New sections have a place of their own.
const sorted = (store) => JSON.stringify(Object.entries(store).sort(([a], [b]) => (a < b ? -1 : 1)));

function parsed(text) {
  try {
    return [JSON.parse(text)];
  } catch {
    return undefined;
  }
}

/** What can be used in a store. */
function seen(store) {
  const usable = members(store.profiles).filter(
    ([, entry]) =>
      isObject(entry) && entry.type === "api_key" && typeof entry.provider === "string" && entry.provider !== "",
  );
  const count = (value) => Math.min(Math.max(Math.trunc(value), 0), Number(2n ** 63n - 1n));
  return {
    profiles: usable.map(([id, entry]) => [name(id), typeof entry.key === "string" ? text(entry.key) : ""]),
    errors: members(store.usageStats)
      .filter(([, entry]) => isObject(entry) && typeof entry.errorCount === "number")
      .map(([id, entry]) => [name(id), count(entry.errorCount)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    orders: members(store.order)
      .filter(([, ids]) => Array.isArray(ids))
      .map(([provider, ids]) => [
        name(provider),
        ids.filter((id) => typeof id === "string" && id.trim() !== "").map((id) => name(id).trim()),
      ])
      .filter(([, ids]) => ids.length > 0),
  };
}

/** The store with the edit in it. */
function edited(store, { id: written, errors, key }) {
  const id = JSON.parse(`"${written}"`);
  // Without them it is no store to Clawdbot.
  if (store.profiles === undefined) store.profiles = {};
  if (errors !== undefined) {
    store.usageStats ??= {};
    store.usageStats[id] = { ...store.usageStats[id], errorCount: errors };
  } else {
    store.profiles ??= {};
    store.profiles[id] = { type: "api_key", provider: "acme", key };
  }
  return store;
}

function judged(job) {
  const before = parsed(job.text);
  const isStore = before !== undefined && isObject(before[0]) && (before[0].profiles == null || isObject(before[0].profiles));
  const kind = isStore ? "store" : before === undefined ? "damaged" : "other";
  if (kind !== job.kind) return { wrong: "kind", kind };
  if (kind !== "store") return {};
  const view = JSON.stringify(seen(before[0]));
  if (view !== JSON.stringify(job.seen)) return { wrong: "view", view };
  for (const edit of job.edits) {
    const after = parsed(edit.after);
    if (after === undefined) return { wrong: "not JSON", edit };
    const wanted = sorted(edited(structuredClone(parsed(job.text)[0]), edit));
    if (sorted(after[0]) !== wanted) return { wrong: "edit", wanted, edit };
  }
  return {};
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(judged(JSON.parse(line))));
}
