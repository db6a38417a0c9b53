/** Renders rows as columns that line up; the first row holds the headings, and only the first column is left-aligned. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
  const [headings = [], ...rest] = rows;
  return [line(headings), widths.map((width) => "-".repeat(width)).join("  "), ...rest.map(line)].join("\n");
}
