/** The pages' style sheet, served as one file because the pages' policy allows no inline styles. */
export const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 44rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
.warning { margin: 0; padding: 0.75rem 1rem; background: #ffe08a; color: #3a2c00; }
.mails { list-style: none; padding: 0; }
.mails a { display: grid; padding: 0.75rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); color: inherit; text-decoration: none; overflow-wrap: anywhere; }
.mails a:hover strong, .mails a:focus-visible strong { text-decoration: underline; }
time, dt { opacity: 0.75; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { padding: 1rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 0.5rem; white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }
`;
