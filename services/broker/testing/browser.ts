/** A browser without a screen or scripts: keeps cookies, follows redirects and `meta refresh`, and sends forms as a page does. */
export interface TestBrowser {
  /** Where it is. */
  url: URL;
  status: number;
  html: string;
  go(url: string | URL): Promise<void>;
  /** Sends the page's form whose action ends so, with its hidden fields and what is filled in. */
  submit(action: string, filledIn?: Record<string, string>): Promise<void>;
  /** What it keeps under this name for the host that it is at. */
  cookie(name: string): string | undefined;
  /** Puts a cookie into it for the host that it is at, past all rules. */
  plant(name: string, value: string): void;
  /** Every Set-Cookie header that it was ever sent, the newest last. */
  setCookies: string[];
  /** Stops before it would go to an address that this matches, and stands there without asking for it. */
  stopBefore?: RegExp;
}

export function createTestBrowser(): TestBrowser {
  const jars = new Map<string, Map<string, string>>();
  const ask = async (target: URL, init: RequestInit = {}): Promise<void> => {
    let request = init;
    for (let url = target, hops = 0; hops < 20; hops++) {
      browser.url = url;
      if (browser.stopBefore?.test(url.href) === true) return;
      const jar = jars.get(url.origin) ?? new Map<string, string>();
      jars.set(url.origin, jar);
      const headers = new Headers(request.headers);
      headers.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
      const response = await fetch(url, { ...request, headers, redirect: "manual" });
      for (const cookie of response.headers.getSetCookie()) {
        browser.setCookies.push(cookie);
        keep(jar, cookie);
      }
      browser.status = response.status;
      browser.html = await response.text();
      const onward =
        response.headers.get("location") ??
        /http-equiv="refresh" content="0; url=([^"]+)"/.exec(browser.html)?.[1]?.replaceAll("&amp;", "&");
      if (onward === undefined) return;
      url = new URL(onward, url);
      request = {};
    }
    throw new Error("the pages send a browser round in circles");
  };
  const browser: TestBrowser = {
    url: new URL("about:blank"),
    status: 0,
    html: "",
    setCookies: [],
    cookie: (name) => jars.get(browser.url.origin)?.get(name),
    plant: (name, value) => void jars.get(browser.url.origin)?.set(name, value),
    go: (url) => ask(new URL(url)),
    submit: async (action, filledIn = {}) => {
      const forms = browser.html.match(/<form[\s\S]*?<\/form>/g) ?? [];
      const form = forms.find((each) => new RegExp(`action="[^"]*${action}"`).test(each));
      const to = /action="([^"]+)"/.exec(form ?? "")?.[1];
      if (form === undefined || to === undefined)
        throw new Error(`no form ${action} at ${browser.url.href}: ${browser.html}`);
      const hidden = [...form.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
      const fields = hidden.map(([, name = "", value = ""]): [string, string] => [name, value]);
      const body = new URLSearchParams({ ...Object.fromEntries(fields), ...filledIn });
      const headers = { origin: browser.url.origin, "sec-fetch-site": "same-origin" };
      await ask(new URL(to, browser.url), { method: "POST", body, headers });
    },
  };
  return browser;
}

function keep(jar: Map<string, string>, cookie: string): void {
  const [pair = "", ...attributes] = cookie.split("; ");
  const at = pair.indexOf("=");
  const expired = attributes.some((each) => /^(expires=Thu, 01 Jan 1970|max-age=0$)/i.test(each));
  if (expired) jar.delete(pair.slice(0, at));
  else jar.set(pair.slice(0, at), decodeURIComponent(pair.slice(at + 1)));
}
