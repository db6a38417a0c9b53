import { describe, expect, test } from "vitest";

import { dark, light } from "@agentkeys/lib/look/palette";

/** How far apart two colours are for the eye: WCAG 2.2, "contrast ratio". */
function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return ((high ?? 0) + 0.05) / ((low ?? 0) + 0.05);
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

describe.each([
  ["light", light],
  ["dark", dark],
])("in the %s scheme", (_, scheme) => {
  test.each([
    ["ink", "card"],
    ["ink", "paper"],
    ["ink", "code"],
    ["soft", "card"],
    ["soft", "paper"],
    ["go", "card"],
    ["go-ink", "go"],
    ["warn", "warn-paper"],
    ["warn", "card"],
    ["go", "go-paper"],
    ["stop-ink", "stop"],
    ["soft", "code"],
  ] as const)("%s can be read on %s (WCAG AA)", (text, ground) => {
    expect(contrast(scheme[text], scheme[ground])).toBeGreaterThanOrEqual(4.5);
  });

  test.each([
    ["soft", "card"],
    ["go", "paper"],
    ["go", "card"],
    ["stop", "card"],
  ] as const)("borders and the focus ring of colour %s can be seen on %s", (line, ground) => {
    expect(contrast(scheme[line], scheme[ground])).toBeGreaterThanOrEqual(3);
  });
});
