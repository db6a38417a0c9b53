/** What a new passkey is called for people, since its value says nothing: on what it was made, and when. */
export function passkeyName(userAgent: string, now: number): string {
  const [, device = ""] = devices.find(([pattern]) => pattern.test(userAgent)) ?? [];
  const day = new Date(now).toISOString().slice(0, 10);
  return device === "" ? `Passkey of ${day}` : `Passkey made on ${device}, ${day}`;
}

/** Browsers say these about themselves; an iPad may say that it is a Mac. */
const devices: readonly [RegExp, string][] = [
  [/iPhone|iPod/, "an iPhone"],
  [/iPad/, "an iPad"],
  [/Android/, "Android"],
  [/CrOS/, "ChromeOS"],
  [/Windows/, "Windows"],
  [/Macintosh/, "a Mac"],
  [/Linux/, "Linux"],
];
