/** Says where a dispatcher was given more chunks than there are rows to cut. */
import type { Strategy } from '@monta/core';

/**
 * What is said where there are more chunks than tokens in the longest slice of a replica: no expert gets more rows of
 * one. Else undefined.
 */
export function emptyChunksNote({ chunks }: Strategy, sliceTokens: number): string | undefined {
  const most = Math.max(chunks.forward, chunks.backward);
  if (most <= sliceTokens) return undefined;
  const rows = `no expert gets more than ${sliceTokens} rows of a slice`;
  return `${most} chunks, and ${rows}: the chunks beyond run without rows`;
}
