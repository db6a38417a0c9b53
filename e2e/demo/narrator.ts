import { stripVTControlCharacters, styleText } from "node:util";

/** Tells on the terminal what happens. Colours only where the output is one. */
export interface Narrator {
  title(text: string): void;
  heading(text: string): void;
  /** One thing that was done, and what came of it. */
  step(name: string, result: string): void;
  /** More about the step before. */
  detail(text: string): void;
  /** Rows of cells in columns; the first row is the head. */
  table(rows: readonly (readonly string[])[]): void;
  done(text: string): void;
  failed(text: string): void;
}

const NAME_WIDTH = 14;

export function createNarrator(out: { write(text: string): unknown; isTTY?: boolean }): Narrator {
  const style = (format: Parameters<typeof styleText>[0], text: string): string =>
    out.isTTY === true ? styleText(format, text) : text;
  const line = (text = ""): void => void out.write(`${text}\n`);
  return {
    title: (text) => line(style("bold", text)),
    heading(text) {
      line();
      line(style("bold", text));
    },
    step: (name, result) => line(`  ${style("green", "✓")} ${name.padEnd(NAME_WIDTH)}${result}`),
    detail: (text) => line(`    ${" ".repeat(NAME_WIDTH)}${style("dim", text)}`),
    table(rows) {
      const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => visibleLength(row[i] ?? ""))));
      rows.forEach((row, i) => {
        const cells = row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - visibleLength(cell)));
        line(`    ${i === 0 ? style("dim", cells.join("   ")) : cells.join("   ")}`.trimEnd());
      });
    },
    done(text) {
      line();
      line(style(["bold", "green"], text));
    },
    failed(text) {
      line();
      line(`${style(["bold", "red"], "✗ failed:")} ${text}`);
    },
  };
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length;
}
