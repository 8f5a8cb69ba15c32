/**
 * Balancing without an auxiliary loss (Wang et al., arXiv 2408.15664, algorithm 1; DeepSeek-V3, 2.1.2): the bias on an
 * expert's score, by which it is chosen and not weighed, goes up by the rate where it had fewer picks than the mean of
 * its layer, and down where it had more. Counts are those of a whole step over all ranks.
 */
export function balanceBias(bias: Float32Array, picks: Float32Array, rate: number): void {
  let all = 0;
  for (const count of picks) all += count;
  // Against the mean in whole numbers, so that equal loads are equal.
  for (let expert = 0; expert < bias.length; expert++)
    bias[expert] = bias[expert] + rate * Math.sign(all - picks[expert] * bias.length);
}
