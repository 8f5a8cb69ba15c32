/** What a batch script asks Slurm for in its header, which Slurm tells the script by variables. */
import type { Located, Source } from './place.js';

const line = /^#SBATCH[ \t]+(.*)$/gmu;

/** Words of all `#SBATCH` lines. */
export function batchWords(source: Source): Located[] {
  return [...source.text.matchAll(line)].flatMap(({ index, 0: whole, 1: text = '' }) => {
    const place = { source, start: index, end: index + whole.length };
    const [plain = ''] = text.split(/\s#/u);
    return plain
      .split(/\s+/u)
      .filter((word) => word !== '')
      .map((word) => ({ text: word, place }));
  });
}

/** The number behind one of these options. */
function numberOf(words: readonly Located[], names: readonly string[]): number | undefined {
  for (const [at, { text }] of words.entries()) {
    const [name = '', inline] = text.split('=');
    if (!names.includes(name)) continue;
    const value = /(?:^|:)(\d+)$/u.exec(inline ?? words[at + 1]?.text ?? '')?.[1];
    if (value !== undefined) return Number(value);
  }
  return undefined;
}

/** Variables that Slurm sets by the header (`man sbatch`, output environment variables). */
export function batchVariables(words: readonly Located[]): Readonly<Record<string, string>> {
  const nodes = numberOf(words, ['--nodes', '-N']);
  const each = numberOf(words, ['--ntasks-per-node']);
  const tasks = numberOf(words, ['--ntasks', '-n']) ?? (nodes && each ? nodes * each : undefined);
  const gpus = numberOf(words, ['--gpus-per-node', '--gres']);
  const known: readonly (readonly [readonly string[], number | undefined])[] = [
    [['SLURM_NNODES', 'SLURM_JOB_NUM_NODES'], nodes],
    [['SLURM_NTASKS_PER_NODE'], each],
    [['SLURM_NTASKS', 'SLURM_NPROCS'], tasks],
    [['SLURM_GPUS_PER_NODE', 'SLURM_GPUS_ON_NODE'], gpus],
  ];
  return Object.fromEntries(
    known.flatMap(([names, value]) => (value === undefined ? [] : names.map((name) => [name, String(value)]))),
  );
}
