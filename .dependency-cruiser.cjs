/** Who may import whom; ARCHITECTURE.md draws the same. @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    {
      name: "gen-knows-nobody",
      severity: "error",
      from: { path: "^gen/" },
      to: { path: "^(lib|services|daemon|e2e)/" },
    },
    {
      name: "lib-knows-no-process",
      severity: "error",
      from: { path: "^lib/" },
      to: { path: "^(services|daemon|e2e|deploy|bench)/" },
    },
    {
      name: "services-meet-on-the-wire",
      severity: "error",
      from: { path: "^services/([^/]+)/" },
      to: { path: "^(services/|daemon/|e2e/|deploy/)", pathNot: "^services/$1/" },
    },
    {
      name: "daemon-stands-alone",
      severity: "error",
      from: { path: "^daemon/" },
      to: { path: "^(services|e2e|deploy)/" },
    },
    {
      name: "daemon-stays-small",
      comment: "no database, no ethers on the machine of an agent",
      severity: "error",
      from: { path: "^daemon/" },
      to: { path: "node_modules/(ethers|siwe|kysely|libsql|viem|hono)/" },
    },
    {
      name: "broker-domain-knows-no-wire",
      comment:
        "rpc/ and pages/ turn wire into domain; no domain folder reaches back, or touches the database by itself",
      severity: "error",
      from: {
        path: "^services/broker/(identity|login|passkey|wallet|token|audit|browser|account)/",
        pathNot: "\\.test\\.ts$",
      },
      to: { path: "^services/broker/(rpc|pages|store|main|settings)" },
    },
    { name: "tests-are-not-imported", severity: "error", from: {}, to: { path: "\\.test\\.ts$" } },
    {
      name: "no-dev-dependency-in-production",
      comment: "The daemon is not among these: its package is one bundle and installs nothing else.",
      severity: "error",
      from: { path: "^(gen|lib|services|deploy)/", pathNot: "\\.test\\.ts$|/testing/" },
      to: { dependencyTypes: ["npm-dev"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(^|/)dist/" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "types"],
      extensions: [".ts", ".js", ".d.ts"],
    },
  },
};
