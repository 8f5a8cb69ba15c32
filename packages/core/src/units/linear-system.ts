/** Systems of linear equations, a handful of unknowns. */

/**
 * Solves `matrix` times x = `right` by elimination with pivots; both are left as they are. A matrix without an inverse
 * gives what elimination has found up to there.
 */
export function solveLinear(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const n = right.length;
  const system = matrix.map((row, index) => [...row, right[index] ?? 0]);
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++)
      if (Math.abs(system[row]?.[column] ?? 0) > Math.abs(system[pivot]?.[column] ?? 0)) pivot = row;
    const lead = system[pivot];
    const swapped = system[column];
    if (!lead || !swapped) break;
    system[pivot] = swapped;
    system[column] = lead;
    for (const other of system) {
      if (other === lead) continue;
      const factor = (other[column] ?? 0) / (lead[column] ?? 1);
      for (let k = column; k <= n; k++) other[k] = (other[k] ?? 0) - factor * (lead[k] ?? 0);
    }
  }
  return system.map((line, index) => (line[n] ?? 0) / (line[index] ?? 1));
}
