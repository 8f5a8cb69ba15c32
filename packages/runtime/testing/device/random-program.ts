/**
 * Random programs of fills and copies whose conflicts are ordered by events or by their queue, and what they give when
 * run in order.
 */
export type Random = () => number;

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface ProgramStep {
  readonly lane: string;
  /** Buffer that is copied; undefined for a fill with `value`. */
  readonly from: number | undefined;
  readonly to: number;
  readonly value: number;
  /**
   * Steps whose events it comes after: every earlier one of another lane that touches what it writes, or writes what it
   * reads.
   */
  readonly after: readonly number[];
  /** Waits for the host besides. */
  readonly gated: boolean;
}

const pick = (next: Random, count: number): number => Math.floor(next() * count);

export function randomProgram(
  next: Random,
  { buffers, steps, lanes }: { readonly buffers: number; readonly steps: number; readonly lanes: readonly string[] },
): ProgramStep[] {
  const program: ProgramStep[] = [];
  for (let step = 0; step < steps; step++) {
    const lane = lanes[pick(next, lanes.length)];
    const to = pick(next, buffers);
    const from = next() < 0.6 ? (to + 1 + pick(next, buffers - 1)) % buffers : undefined;
    const after = program.flatMap((earlier, index) => {
      const conflict = earlier.to === to || earlier.to === from || earlier.from === to;
      return conflict && earlier.lane !== lane ? [index] : [];
    });
    program.push({ lane, from, to, value: step + 1, after, gated: next() < 0.25 });
  }
  return program;
}

/** The buffers' values after the steps one after another, from all zeros. */
export function runInOrder(program: readonly ProgramStep[], buffers: number): number[] {
  const values = Array.from({ length: buffers }, () => 0);
  for (const { from, to, value } of program) values[to] = from === undefined ? value : values[from];
  return values;
}
