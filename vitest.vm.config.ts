import { defineConfig } from "vitest/config";

// The measured image, booted in virtual machines without hardware help: minutes, so by a command of its own.
export default defineConfig({
  test: { include: ["e2e/vm/*.test.ts"], testTimeout: 900_000, hookTimeout: 300_000 },
});
