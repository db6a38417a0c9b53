/** What the pages load, as text so that a bundle contains it. One visual language: paper, ink, one green. */
export const styleSheet = `
:root {
  color-scheme: light dark;
  --paper: #f4f5f2; --card: #ffffff; --ink: #1c211d; --soft: #4c574f; --line: #d9ded8;
  --go: #1f6b47; --go-ink: #ffffff; --code: #eef2ec; --warn: #8a4b00; --warn-paper: #fdf1df;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121613; --card: #1a201c; --ink: #e9eee9; --soft: #a9b5ac; --line: #323b35;
    --go: #7fd1a5; --go-ink: #0d1a13; --code: #232b26; --warn: #f3c583; --warn-paper: #33270f;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; min-height: 100vh; overflow-wrap: anywhere; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
header, main, footer { width: 100%; max-width: 34rem; margin: 0 auto; padding: 0 1rem; }
body.wide header, body.wide main, body.wide footer { max-width: 48rem; }
header { padding-top: clamp(1.5rem, 10vh, 6rem); padding-bottom: 1rem; font-weight: 700; }
header a { color: inherit; text-decoration: none; display: inline-flex; align-items: center; gap: .55rem; }
header svg { width: 1.5rem; height: 1.5rem; fill: none; stroke: var(--go); stroke-width: 2; stroke-linecap: round; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.75rem; }
.card + .card { margin-top: 1rem; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .75rem; text-wrap: balance; }
h2 { font-size: 1.05rem; margin: 0 0 .5rem; text-wrap: balance; }
p { margin: 0 0 1rem; }
.card > :last-child { margin-bottom: 0; }
.tick { display: block; width: 3rem; height: 3rem; margin-bottom: 1rem; fill: none; stroke: var(--go); stroke-width: 1.75;
  stroke-linecap: round; stroke-linejoin: round; }
.soft, footer { color: var(--soft); }
.soft { font-size: .925rem; }
footer { font-size: .85rem; text-wrap: balance; padding-top: 1.25rem; padding-bottom: 2rem; }
.code { margin: 1rem 0 1.25rem; padding: .8rem 1rem; border-radius: .75rem; background: var(--code); text-align: center;
  font: 700 clamp(1.6rem, 8vw, 2.4rem)/1.2 ui-monospace, "DejaVu Sans Mono", monospace; letter-spacing: .08em; white-space: nowrap; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .4rem 1.25rem; margin: 0 0 1.5rem; }
dt { color: var(--soft); }
dd { margin: 0; }
@media (max-width: 28rem) {
  header { padding-top: 1.25rem; }
  dl { display: block; }
  dd { margin-bottom: .6rem; }
}
.note { display: block; margin: .25rem 0 .35rem; padding: .45rem .7rem; border-radius: .5rem; background: var(--warn-paper); color: var(--warn);
  font-size: .925rem; }
form { margin: 0; }
.choices { display: flex; flex-wrap: wrap; gap: .75rem; margin-bottom: 1rem; }
.choices form { flex: 1 1 12rem; }
button, .button { display: block; width: 100%; padding: .8rem 1.1rem; border: 1px solid var(--soft); border-radius: .65rem;
  background: transparent; color: var(--ink); font: inherit; font-weight: 600; text-align: center; text-decoration: none; cursor: pointer; }
button.go, .button.go { background: var(--go); border-color: var(--go); color: var(--go-ink); }
button:hover, .button:hover { filter: brightness(1.08); }
:focus-visible { outline: 3px solid var(--go); outline-offset: 3px; }
.below { margin: .75rem 0 1rem; }
.said:empty { margin: 0; }
.said.wrong { padding: .45rem .7rem; border-radius: .5rem; background: var(--warn-paper); color: var(--warn); }
.whole { white-space: nowrap; }
.said { margin: .6rem 0 0; font-size: .925rem; }
.aka { display: block; color: var(--soft); font-size: .925rem; }
button:disabled { opacity: .55; cursor: default; filter: none; }
label { display: block; margin-bottom: .35rem; font-weight: 600; }
input[type="text"] { width: 100%; padding: .75rem .85rem; margin-bottom: 1rem; border: 1px solid var(--soft); border-radius: .65rem;
  background: var(--paper); color: var(--ink); font: inherit; }
pre { margin: 0 0 1rem; padding: .9rem 1rem; border-radius: .65rem; background: var(--code); overflow-x: auto; white-space: pre-wrap;
  font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
textarea, code { font: .9rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.stack { display: grid; gap: .75rem; margin-bottom: 1rem; }
.card > .note { margin: 0 0 1rem; }
.card > .note:empty { margin: 0; padding: 0; }
.stack[hidden] { display: none; }
.choices button { height: 100%; }
button:disabled { opacity: .55; cursor: default; }
details { margin-bottom: 1rem; border: 1px solid var(--line); border-radius: .65rem; padding: .75rem 1rem; }
summary { font-weight: 600; cursor: pointer; }
details[open] summary { margin-bottom: .75rem; }
.banner { margin-bottom: 1rem; padding: .7rem 1rem; border-radius: .75rem; background: var(--warn-paper); color: var(--warn); font-weight: 600; }
.banner.after { margin: 1rem 0 0; }
.banner a { color: inherit; }
a { color: var(--go); }
`;

/** The link's secret stands behind the #, which no browser sends: this hands it to the form, and takes it off the address bar. */
export const loginScript = `
"use strict";
function takeLink() {
  const token = /^#([A-Za-z0-9_-]{43})$/.exec(location.hash);
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  document.getElementById("link").value = token[1];
  document.getElementById("review").submit();
}
// The page may be open already when a link is pasted: then only the part behind the # changes.
addEventListener("hashchange", takeLink);
takeLink();
`;
