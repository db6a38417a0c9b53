import { readFileSync } from "node:fs";

import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Files that drive a browser go first: they take longest, and one that starts last leaves the other workers idle. Vitest knows that by itself
 * only where it has run before.
 */
class BrowsersFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const usual = await super.sort(files);
    const browsers = new Set(usual.filter(({ moduleId }) => readFileSync(moduleId, "utf8").includes("hasChromium")));
    return [...browsers, ...usual.filter((file) => !browsers.has(file))];
  }
}

// Everything beside what it tests, and the contract and end-to-end tests over loopback sockets. Those in e2e/rgw need Ceph's RADOS
// Gateway; where it is not installed they say so and skip (never in CI).
// Not here: the measured image in virtual machines, which takes minutes (`npm run test:vm`, vitest.vm.config.ts).
// One project for all: each would have workers of its own, which load all modules anew.
export default defineConfig({
  test: {
    include: ["{lib,services,daemon,deploy,e2e}/**/*.test.ts"],
    exclude: [...configDefaults.exclude, "e2e/vm/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // No module of ours keeps state of its own, so that they need not be loaded anew for each file: that took a third of the time.
    isolate: false,
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true" },
    // One more than two cores: much of a test is waiting for a disk, a socket or a browser.
    maxWorkers: 3,
    sequence: { sequencer: BrowsersFirst },
  },
});
