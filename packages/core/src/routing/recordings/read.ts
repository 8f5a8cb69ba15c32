/** Reads recordings of routing. */
import { readDocument, type Field } from '../../units/documents/index.js';
import { InputError } from '../../units/errors.js';
import { limits } from '../../units/limits.js';
import type { RecordedRouting } from '../recorded.js';

function countsOf(row: Field, experts: number, topK: number): number[] {
  const cells = row.list();
  if (cells.length !== experts)
    throw row.error(`${cells.length} counts for ${experts} experts`, { expected: `${experts} numbers` });
  const values = cells.map((cell) => cell.integer({ min: 0, max: limits.sequence }));
  if (values.every((value) => value === 0)) throw row.error('all counts are 0', { expected: 'some rows' });
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  const sum = values.reduce((a, b) => a + b, 0);
  // A token visits an expert once, so no expert can have more than one row of every token.
  if (largest * topK > sum)
    throw row.error(`an expert has ${largest} of ${sum} rows, more than one per token with top-${topK}`, {
      expected: `at most ${Math.floor(sum / topK)} rows an expert`,
    });
  return values;
}

function choicesOf(row: Field, experts: number, topK: number): Int32Array {
  const cells = row.list(topK, limits.sequence);
  if (cells.length % topK !== 0)
    throw row.error(`${cells.length} choices are no whole number of tokens with top-${topK}`, {
      expected: `${topK} experts a token, one token after the other`,
    });
  const ids = Int32Array.from(cells, (cell) => cell.integer({ min: 0, max: experts - 1 }));
  for (let first = 0; first < ids.length; first += topK)
    if (new Set(ids.subarray(first, first + topK)).size < topK)
      throw row.error(`token ${first / topK} has an expert twice`, { expected: `${topK} different experts` });
  return ids;
}

function counted(ids: Int32Array, experts: number): number[] {
  const counts = Array.from({ length: experts }, () => 0);
  for (const id of ids) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}

/**
 * Reads a recording: JSON `{ experts, topK, counts: number[][] }`, counts by source (or one row for all) and expert, or
 * `{ experts, topK, choices: number[][] }`, the experts of every token by source, k a token one after the other. Throws
 * `InputError`.
 */
export function readRecordedRouting(text: string, fileName: string): RecordedRouting {
  const map = readDocument(text, fileName).map(['experts', 'topK', 'counts', 'choices']);
  const experts = map.need('experts', 'the number of experts').integer({ max: limits.experts });
  const topK = map.need('topK', 'experts per token').integer({ min: 1, max: experts });
  const recorded = map.get('choices');
  if (recorded !== undefined && map.get('counts') !== undefined)
    throw new InputError('a recording has counts or choices', { file: fileName, expected: 'one of both' });
  if (recorded !== undefined) {
    const choices = recorded.list(1, limits.ranks).map((row) => choicesOf(row, experts, topK));
    return { kind: 'recorded', experts, topK, counts: choices.map((ids) => counted(ids, experts)), choices };
  }
  const counts = map
    .need('counts', "rows by source and expert, or choices: every token's experts by source")
    .list(1, limits.ranks)
    .map((row) => countsOf(row, experts, topK));
  return { kind: 'recorded', experts, topK, counts };
}
