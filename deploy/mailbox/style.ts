import { createHash } from "node:crypto";

import { styleSheet } from "@agentkeys/lib/look/style-sheet";

/** The look of all our pages, and what only a mailbox has. */
export const style = `${styleSheet}
.mails a { display: grid; flex: 1; gap: .1rem; color: inherit; text-decoration: none; }
.mails a:hover strong { text-decoration: underline; }
`;

/** The one style that the pages' policy lets through, by its hash (CSP Level 3 section 2.3.1). */
export const styleSource = `'sha256-${createHash("sha256").update(style, "utf8").digest("base64")}'`;
