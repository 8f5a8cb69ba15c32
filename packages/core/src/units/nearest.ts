/**
 * Edit distance in which a swap of neighbours counts one (optimal string alignment) and a change of case a half, since
 * both are the commonest slips in unit names.
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const [x, y] = [a.charAt(i - 1), b.charAt(j - 1)];
      const change = x === y ? 0 : x.toLowerCase() === y.toLowerCase() ? 0.5 : 1;
      let best = Math.min((above[j - 1] ?? 0) + change, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && x === b.charAt(j - 2) && y === a.charAt(i - 2) && x !== y) {
        best = Math.min(best, (before[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    before = above;
    above = row;
  }
  return above[b.length] ?? 0;
}

/**
 * The candidate most like `word`, or undefined when none is close enough to be worth suggesting. Ties go to the first.
 * Candidates whose length alone puts them too far away are not compared, so that a word of any length is answered at
 * once.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let distance = Math.max(1, word.length / 2.5) + 1e-9;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= distance) continue;
    const d = editDistance(word, candidate);
    if (d < distance) [best, distance] = [candidate, d];
  }
  return best;
}

/** `did you mean x?`, or undefined: made to be an error's hint. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const match = nearest(word, candidates);
  return match === undefined ? undefined : `did you mean ${match}?`;
}

const digitsOf = (text: string): string => text.replaceAll(/\D+/gu, ' ').trim();

/**
 * The same for names of models, architectures and devices, whose numbers and words tell them apart: `llama-2-7b` is no
 * slip for `llama-3-8b`, nor `glm4_moe_lite` one for `glm4_moe`. Only candidates with the same numbers and as many
 * words count, a slip of one letter in five at most.
 */
export function didYouMeanAlike(text: string, candidates: Iterable<string>): string | undefined {
  const word = text.trim();
  const words = (name: string): number => name.split(/[\s_./-]+/u).length;
  const alike = [...candidates].filter(
    (candidate) =>
      digitsOf(candidate) === digitsOf(word) &&
      words(candidate) === words(word) &&
      Math.abs(candidate.length - word.length) <= Math.max(1, word.length / 5) &&
      editDistance(word, candidate) <= Math.max(1, word.length / 5),
  );
  return didYouMean(word, alike);
}
