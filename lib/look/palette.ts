/** The colours of everything that a person sees of ours: paper, ink, one green. `#rrggbb`, by what they are for. */
export type Palette = Record<(typeof names)[number], string>;

const names = [
  "paper",
  "card",
  "ink",
  "soft",
  "line",
  "go",
  "go-ink",
  "go-paper",
  "code",
  "warn",
  "warn-paper",
  "stop",
  "stop-ink",
] as const;

export const light: Palette = {
  paper: "#f4f5f2",
  card: "#ffffff",
  ink: "#1c211d",
  soft: "#4c574f",
  line: "#d9ded8",
  go: "#1f6b47",
  "go-ink": "#ffffff",
  "go-paper": "#e4f1e9",
  code: "#eef2ec",
  warn: "#8a4b00",
  "warn-paper": "#fdf1df",
  stop: "#a3261c",
  "stop-ink": "#ffffff",
};

export const dark: Palette = {
  paper: "#121613",
  card: "#1a201c",
  ink: "#e9eee9",
  soft: "#a9b5ac",
  line: "#323b35",
  go: "#7fd1a5",
  "go-ink": "#0d1a13",
  "go-paper": "#1d3327",
  code: "#232b26",
  warn: "#f3c583",
  "warn-paper": "#33270f",
  stop: "#ff9c8f",
  "stop-ink": "#2a0a06",
};

/** A palette as CSS custom properties. */
export function properties(palette: Palette): string {
  return names.map((name) => `--${name}: ${palette[name]};`).join(" ");
}
