/** A table in Markdown; the first `left` columns are text, the others numbers. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, place) => (place < left ? '---' : '--:'))), ...rows.map(line)].join('\n');
}
