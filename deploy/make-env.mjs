// Writes .env from .env.example with fresh secrets, readable by you alone: npm run make-env
// An .env that is there stays as it is: another master secret would change every wallet.
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const example = readFileSync(join(root, ".env.example"), "utf8");
const secrets = ["DEV_KEY_SERVICE_MASTER_SECRET", "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY"];
const filled = secrets.reduce(
  (text, name) => text.replace(new RegExp(`^${name}=$`, "m"), `${name}=${randomBytes(32).toString("hex")}`),
  example,
);

try {
  writeFileSync(join(root, ".env"), filled, { mode: 0o600, flag: "wx" });
  console.log(".env is written, with fresh secrets, readable by you alone. Next: docker compose up -d --build");
} catch (error) {
  if (error.code !== "EEXIST") throw error;
  console.error(
    ".env is there already and stays as it is. Remove it yourself to start over; every wallet changes then.",
  );
  process.exitCode = 1;
}
