import { readFileSync } from "node:fs";

import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Within a project, files that drive a browser go first: they take longest, and one that starts last leaves the other workers idle.
 * Vitest knows that by itself only where it has run before.
 */
class BrowsersFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const usual = await super.sort(files);
    const browsers = new Set(usual.filter(({ moduleId }) => readFileSync(moduleId, "utf8").includes("hasChromium")));
    const projects = [...new Set(usual.map(({ project }) => project))];
    return projects.flatMap((project) => {
      const own = usual.filter((file) => file.project === project);
      return [...own.filter((file) => browsers.has(file)), ...own.filter((file) => !browsers.has(file))];
    });
  }
}

// `unit`: everything beside what it tests, and the contract and end-to-end tests over loopback sockets.
// Not here: the measured image in virtual machines, which takes minutes (`npm run test:vm`, vitest.vm.config.ts).
// `rgw`: needs Ceph's RADOS Gateway; where it is not installed its suite says so and skips (never in CI).
const shared = {
  testTimeout: 30_000,
  hookTimeout: 60_000,
  // No module of ours keeps state of its own, so that they need not be loaded anew for each file: that took a third of the time.
  isolate: false,
  env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true" },
};
export default defineConfig({
  test: {
    // One more than two cores: much of a test is waiting for a disk, a socket or a browser.
    maxWorkers: 3,
    sequence: { sequencer: BrowsersFirst },
    projects: [
      {
        test: {
          ...shared,
          name: "unit",
          include: ["{lib,services,daemon,deploy}/**/*.test.ts"],
          exclude: ["**/node_modules/**"],
        },
      },
      {
        test: {
          ...shared,
          name: "e2e",
          include: ["e2e/**/*.test.ts"],
          exclude: ["**/node_modules/**", "e2e/rgw/**", "e2e/vm/**"],
        },
      },
      { test: { ...shared, name: "rgw", include: ["e2e/rgw/**/*.test.ts"], exclude: ["**/node_modules/**"] } },
    ],
  },
});
