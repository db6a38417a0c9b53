import { dark, light, properties } from "./palette.ts";

/** What every page of ours looks like, as text so that a bundle contains it and a page can carry it along. */
export const styleSheet = `
:root { color-scheme: light dark; ${properties(light)} }
@media (prefers-color-scheme: dark) { :root { ${properties(dark)} } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; min-height: 100vh; overflow-wrap: anywhere; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
header, main, footer { width: 100%; max-width: 34rem; margin: 0 auto; padding: 0 1rem; }
.wide header, .wide main, .wide footer { max-width: 48rem; }
header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: .5rem 1rem;
  padding-top: clamp(1.5rem, 10vh, 6rem); padding-bottom: 1rem; }
.wide header { padding-top: 1.5rem; }
header a { color: inherit; text-decoration: none; display: inline-flex; align-items: center; gap: .55rem; font-weight: 700; }
header svg { width: 1.5rem; height: 1.5rem; fill: none; stroke: var(--go); stroke-width: 2; stroke-linecap: round; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.75rem; }
.card + .card { margin-top: 1rem; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .75rem; text-wrap: balance; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0 0 .5rem; text-wrap: balance; }
p { margin: 0 0 1rem; }
.card > :last-child { margin-bottom: 0; }
.tick { display: block; width: 3rem; height: 3rem; margin-bottom: 1rem; fill: none; stroke: var(--go); stroke-width: 1.75;
  stroke-linecap: round; stroke-linejoin: round; }
.soft, footer { color: var(--soft); }
.soft { font-size: .925rem; }
footer { font-size: .85rem; text-wrap: balance; padding-top: 1.25rem; padding-bottom: 2rem; }
.code { margin: 1rem 0 1.25rem; padding: .8rem 1rem; border-radius: .75rem; background: var(--code); text-align: center;
  font: 700 clamp(1.6rem, 8vw, 2.4rem)/1.2 ui-monospace, "DejaVu Sans Mono", monospace; letter-spacing: .08em; white-space: nowrap; }
.mono { font: .92em/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .4rem 1.25rem; margin: 0 0 1.5rem; }
dt { color: var(--soft); }
dd { margin: 0; }
.note { display: block; margin: .25rem 0 .35rem; padding: .45rem .7rem; border-radius: .5rem; background: var(--warn-paper); color: var(--warn);
  font-size: .925rem; }
p.note { margin: 0 0 1.25rem; padding: .7rem .9rem; }
form { margin: 0; }
.choices { display: flex; flex-wrap: wrap; gap: .75rem; margin-bottom: 1rem; }
.choices > * { flex: 1 1 12rem; }
button, .button { display: block; width: 100%; padding: .8rem 1.1rem; border: 1px solid var(--soft); border-radius: .65rem;
  background: transparent; color: var(--ink); font: inherit; font-weight: 600; text-align: center; text-decoration: none; cursor: pointer; }
button.go, .button.go { background: var(--go); border-color: var(--go); color: var(--go-ink); }
button.stop, .button.stop { background: var(--stop); border-color: var(--stop); color: var(--stop-ink); }
button.small, .button.small { display: inline-block; width: auto; padding: .35rem .8rem; font-size: .9rem; }
button:hover, .button:hover { filter: brightness(1.08); }
:focus-visible { outline: 3px solid var(--go); outline-offset: 3px; }
label { display: block; margin-bottom: .35rem; font-weight: 600; }
input[type="text"], input[type="email"] { width: 100%; padding: .75rem .85rem; margin-bottom: 1rem; border: 1px solid var(--soft);
  border-radius: .65rem; background: var(--paper); color: var(--ink); font: inherit; }
.check { display: flex; gap: .75rem; align-items: baseline; margin-bottom: 1.25rem; font-weight: 400; }
.check input { flex: none; width: 1.1rem; height: 1.1rem; accent-color: var(--go); }
pre { margin: 0 0 1rem; padding: .9rem 1rem; border-radius: .65rem; background: var(--code); overflow-x: auto; white-space: pre-wrap;
  font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.banner { margin-bottom: 1rem; padding: .7rem 1rem; border-radius: .75rem; background: var(--warn-paper); color: var(--warn); font-weight: 600; }
.banner.after { margin: 1rem 0 0; }
.banner.done { background: var(--go-paper); color: var(--go); }
.banner p { margin: .35rem 0 .75rem; font-weight: 400; }
.banner .button { color: inherit; border-color: currentColor; }
a, .banner a { color: var(--go); }
.banner a { color: inherit; }
.or { display: flex; align-items: center; gap: 1rem; margin: 1.25rem 0; color: var(--soft); font-size: .925rem; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }
.stack { display: grid; gap: .75rem; margin-bottom: 1rem; }
.card > .note { margin: 0 0 1rem; }
.card > .note:empty { margin: 0; padding: 0; }
textarea, code { font: .9rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.choices button { height: 100%; }
button:disabled { opacity: .55; cursor: default; filter: none; }
.below { margin: .75rem 0 1rem; }
.said { margin: .6rem 0 0; font-size: .925rem; }
.said:empty { margin: 0; }
.said.wrong { padding: .45rem .7rem; border-radius: .5rem; background: var(--warn-paper); color: var(--warn); }
.whole { white-space: nowrap; }
.aka { display: block; color: var(--soft); font-size: .925rem; }
details:not(.facts) { margin-bottom: 1rem; border: 1px solid var(--line); border-radius: .65rem; padding: .75rem 1rem; }
details:not(.facts) > summary { font-weight: 600; color: inherit; }
details:not(.facts)[open] > summary { margin-bottom: .75rem; }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: .5rem 1rem; margin-bottom: .5rem; }
.head h2 { margin: 0; }
.head + .events { margin-top: .9rem; }
.rows { list-style: none; margin: 0; padding: 0; }
.rows > li { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .9rem 0; border-top: 1px solid var(--line); }
.rows > li:first-child { border-top: 0; }
.rows > li:last-child { padding-bottom: 0; }
.rows .what { flex: 1 1 16rem; min-width: 0; }
.rows .what > * { display: block; }
.rows .name { font-weight: 600; }
.rows .soft { font-size: .88rem; }
.icon { flex: none; width: 1.5rem; height: 1.5rem; fill: none; stroke: var(--soft); stroke-width: 1.75; stroke-linecap: round;
  stroke-linejoin: round; }
.rows > li:has(> .icon) { display: grid; grid-template-columns: 1.5rem minmax(0, 1fr) auto; }
.rows > li > .icon { align-self: start; margin-top: .05rem; }
.rows.events > li { position: relative; display: block; padding: 0 0 .9rem 1.6rem; border-top: 0; }
.events > li > * { display: block; }
.events > li::before { content: ""; position: absolute; left: .1rem; top: .5rem; width: .6rem; height: .6rem; border-radius: 50%;
  background: var(--go); }
.events > li.bad::before { background: var(--warn); }
.events > li:not(:last-child)::after { content: ""; position: absolute; left: calc(.4rem - .5px); top: 1.3rem; bottom: -.3rem; width: 1px;
  background: var(--line); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; margin: 1rem 0; }
.two > .card { margin: 0; }
.chip { display: inline-block; margin-left: .4rem; padding: .05rem .55rem; border-radius: 1rem; background: var(--go-paper); color: var(--go);
  font: 600 .78rem/1.6 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; white-space: nowrap; }
.chip.off { background: var(--code); color: var(--soft); }
.chip.bad { background: var(--warn-paper); color: var(--warn); }
.after { margin-top: 1.25rem; }
.facts { margin-top: 1rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
summary { cursor: pointer; color: var(--soft); }
@media (max-width: 28rem) {
  header { padding-top: 1.25rem; }
  .card { padding: 1.25rem; }
  dl { display: block; }
  dd { margin-bottom: .6rem; }
  .rows > li:has(> .icon) > .button { grid-column: 2; justify-self: start; }
}
`;
