/** Routing as a run recorded it: rows by expert, or every token's experts. */

export interface RecordedRouting {
  readonly kind: 'recorded';
  /** How many experts there are to choose from. */
  readonly experts: number;
  /** Experts of a token. */
  readonly topK: number;
  /** Rows by source (or one row for all) and expert. */
  readonly counts: readonly (readonly number[])[];
  /** Experts of every token by source, k a token one after the other; absent where only rows were counted. */
  readonly choices?: readonly Int32Array[];
}

/** The recorded source that stands for a source: they are used again in turn when there are fewer. */
export const recordedSource = ({ counts }: RecordedRouting, source: number): number => source % counts.length;

/** The recorded experts of so many tokens, [tokens][k], the recording's tokens in turn; undefined without choices. */
export function recordedPicks(routing: RecordedRouting, source: number, tokens: number): Int32Array | undefined {
  const choices = routing.choices?.[recordedSource(routing, source)];
  return choices && Int32Array.from({ length: tokens * routing.topK }, (_, i) => choices[i % choices.length] ?? 0);
}

/** Share of a source's recorded tokens with an expert among [start, end); undefined without choices. */
export function recordedReach(
  routing: RecordedRouting,
  source: number,
  { start, end }: { readonly start: number; readonly end: number },
): number | undefined {
  const choices = routing.choices?.[recordedSource(routing, source)];
  if (choices === undefined) return undefined;
  const { topK } = routing;
  let reached = 0;
  for (let first = 0; first < choices.length; first += topK)
    if (choices.subarray(first, first + topK).some((expert) => expert >= start && expert < end)) reached++;
  return (reached * topK) / choices.length;
}
