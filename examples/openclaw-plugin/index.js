// A credential for each run, from clawdbot. OpenClaw asks at the start of a run, and once more after a 401.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";

const program = process.env.CLAWDBOT_PROGRAM ?? "clawdbot";

// OpenClaw's name for a provider, and ours.
const providers = { anthropic: "anthropic", openai: "openai-codex" };

// Asked again so soon, what was handed out was refused.
const soon = 10_000;
const handedOut = new Map();

function clawdbot(words) {
  return new Promise((resolve, reject) => {
    const args = ["models", "auth", "token", "--format", "json", ...words];
    execFile(program, args, { timeout: 30_000 }, (error, stdout, stderr) => {
      if (!error) return resolve(JSON.parse(stdout));
      const said = stderr.split("\n").find((line) => line.startsWith("error: "));
      reject(new Error(`clawdbot: ${said?.slice(7) ?? error.message}`));
    });
  });
}

async function prepareRuntimeAuth(context) {
  const provider = providers[context.provider];
  if (!provider) return null;
  const last = handedOut.get(context.profileId ?? provider);
  const words = ["--provider", provider];
  if (last && Date.now() - last.at < soon) {
    const hash = createHash("sha256").update(last.token).digest("hex");
    words.push("--force-refresh", "--if-token-sha256", hash);
  }
  const { token, expires } = await clawdbot(words);
  handedOut.set(context.profileId ?? provider, { token, at: Date.now() });
  return { apiKey: token, ...(expires ? { expiresAt: expires } : {}) };
}

export default {
  id: "clawdbot-auth",
  name: "clawdbot",
  description: "Live tokens from clawdbot",
  register(api) {
    for (const id of Object.keys(providers)) {
      api.registerProvider({ id, label: "clawdbot", auth: [], prepareRuntimeAuth });
    }
  },
};
