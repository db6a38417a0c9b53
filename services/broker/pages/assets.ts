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

/** Asks whether the sign-in was confirmed meanwhile, and then sends the form that collects it. Without scripts the page asks by itself. */
export const waitingScript = `
"use strict";
async function isWaiting() {
  try {
    const answer = await fetch(location.pathname + "/state", { cache: "no-store" });
    return (await answer.json()).state === "waiting";
  } catch {
    return true;
  }
}
async function watch() {
  while (await isWaiting()) await new Promise((done) => setTimeout(done, 1000));
  location.reload();
}
const collect = document.getElementById("collect");
if (collect === null) watch();
else collect.submit();
`;
