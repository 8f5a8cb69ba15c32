import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLaunchScript } from './launch-script.js';
import { lineOf } from './place.js';
import { startedRanks } from './started-ranks.js';
import { isUnknown, readable } from './state.js';

const folder = fileURLToPath(new URL('../../../testing/frameworks/launch-scripts/', import.meta.url));
const scripts = readdirSync(folder).filter((name) => name.endsWith('.sh'));

/** Stands for a launcher: writes down its words, and runs a shell that it is given with -c, as srun would. */
const recorder = `#!/bin/bash
{ basename "$0"; printf '%s\\n' "$@"; echo "CONNECTIONS=$CUDA_DEVICE_MAX_CONNECTIONS"; echo ----; } >> "$RECORD"
while [ $# -gt 2 ]; do
  if [ "$1" = bash ] && [ "$2" = -x ]; then set -- bash "\${@:3}"; fi
  if [ "$1" = bash ] && [ "$2" = -c ]; then exec bash -c "$3"; fi
  shift
done
exit 0
`;

let stubs = '';

beforeAll(() => {
  stubs = mkdtempSync(join(tmpdir(), 'monta-launch-'));
  const programs = { torchrun: recorder, python: recorder, srun: recorder, sbatch: '#!/bin/bash\nexec bash\n' };
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(stubs, name), text);
    chmodSync(join(stubs, name), 0o755);
  }
});

afterAll(() => rmSync(stubs, { recursive: true, force: true }));

/** What bash itself runs. */
function byBash(script: string): string[] {
  const record = join(stubs, `${script}.txt`);
  const path = `${stubs}${delimiter}${process.env['PATH'] ?? ''}`;
  const { status, stderr } = spawnSync('bash', [join(folder, script)], {
    cwd: stubs,
    env: { PATH: path, RECORD: record },
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return readFileSync(record, 'utf8')
    .trim()
    .split('\n----')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

describe('reads what bash would run', () => {
  test.each(scripts)('%s', (script) => {
    const text = readFileSync(join(folder, script), 'utf8');
    const { commands } = readLaunchScript({ file: script, text });
    const runs = commands
      .filter(({ words }) => ['torchrun', 'python'].includes(words[0]?.text ?? ''))
      .map(({ words, environment }) =>
        [
          ...words.map((word) => word.text),
          `CONNECTIONS=${environment.get('CUDA_DEVICE_MAX_CONNECTIONS')?.text ?? ''}`,
        ].join('\n'),
      );
    expect(runs).toEqual(byBash(script).filter((run) => !run.startsWith('srun')));
  });
});

const read = (text: string, options = {}) => readLaunchScript({ file: 'x.sh', text }, options);

test('words know their lines, also those of arrays and long strings', () => {
  const { commands } = read(
    'A=(\n  --one 1\n  --two 2\n)\nB=" \\\n  --three 3 \\\n  --four 4"\npython x.py "${A[@]}" $B\n',
  );
  const lines = commands[0]?.words.map((word) => `${word.text} ${lineOf(word).line}`);
  expect(lines).toContain('--two 3');
  expect(lines).toContain('--three 6');
  expect(lines).toContain('--four 7');
});

test('what only the machine knows is assumed in words, and what is not known is no value', () => {
  const { commands, assumptions } = read(
    'N=$(nvidia-smi -L | wc -l)\nif [ -f cache ]; then X=--cached; fi\nif [ $# -lt 1 ]; then exit 1; fi\npython ' +
      'a.py --n $N $X --dir $1\n',
  );
  const words = commands.find(({ words: [first] }) => first?.text === 'python')?.words.map(({ text }) => text) ?? [];
  expect(words.slice(0, 3)).toEqual(['python', 'a.py', '--n']);
  expect(isUnknown(words[3] ?? '')).toBe(true);
  expect(readable(words[3] ?? '')).toBe('$(nvidia-smi -L | wc -l)');
  expect(words).not.toContain('--cached');
  expect(assumptions.map(({ text }) => text)).toEqual(
    expect.arrayContaining([
      expect.stringContaining('[ -f cache ]'),
      'the script would end here with what is given: read on all the same',
      'argument $1 of the script is not given: not known here',
    ]),
  );
});

test('variables, arguments and sourced files can be given', () => {
  const { commands, assumptions } = read('source ./common.sh\npython a.py --n $NODES --first $1 --common $COMMON\n', {
    variables: { NODES: '4' },
    arguments: ['dir'],
    readFile: (path: string) => (path === './common.sh' ? 'COMMON=yes\n' : undefined),
  });
  expect(commands[0]?.words.map(({ text }) => text)).toEqual('python a.py --n 4 --first dir --common yes'.split(' '));
  expect(assumptions).toEqual([]);
  expect(read('source ./missing.sh').assumptions[0]?.text).toMatch(/missing\.sh is not read/u);
});

test('what a sourced file that is not given may set is not known; files of the machine set no flags', () => {
  const texts = (script: string) =>
    read(script)
      .commands.at(-1)
      ?.words.map(({ text }) => (isUnknown(text) ? '?' : text));
  const script = 'source models/$1.sh\npython a.py ${MODEL_ARGS[@]} --size $SIZE\n';
  expect(texts(script)).toEqual('python a.py ? --size ?'.split(' '));
  expect(texts(script.replace('models/$1.sh', '/opt/conda/etc/profile.d/conda.sh'))).toEqual(
    'python a.py --size'.split(' '),
  );
  // of a folder that only the machine knows the rest of the path is asked for
  const { commands } = read('D=$(cd .. && pwd)\nsource "$D/models/a.sh"\npython a.py $SIZE\n', {
    readFile: (path: string) => (path === '/models/a.sh' ? 'SIZE=8\n' : undefined),
  });
  expect(commands.at(-1)?.words.at(-1)?.text).toBe('8');
});

test('loops over arguments that are not given may set what they set', () => {
  const loops = [
    'while [[ $# -gt 0 ]]; do case $1 in --tp) TP=$2; shift 2;; esac; done',
    'for one in "$@"; do TP=${one#--tp=}; done',
  ];
  for (const loop of loops) {
    const script = `${loop}\npython a.py --tp $TP\n`;
    expect(isUnknown(read(script).commands.at(-1)?.words.at(-1)?.text ?? '')).toBe(true);
    const given = read(script, { arguments: loop.startsWith('for') ? ['--tp=4'] : ['--tp', '4'] });
    expect(given.commands.at(-1)?.words.at(-1)?.text).toBe('4');
  }
});

test('a place for people to fill in is one word, and a redirection is none', () => {
  const { commands } = read(
    'DATA=<path to the data>_text\npython a.py --data-path $DATA --save <your folder> < in.txt > out.txt\n',
  );
  expect(commands[0]?.words.map(({ text }) => text)).toEqual(
    'python a.py --data-path path_to_the_data_text --save your_folder'.split(' '),
  );
});

test('what a branch that is not decided would set is not known, rather than empty', () => {
  const { commands } = read(
    'SIZE=$1\nif [ $SIZE = 7B ]; then\n  LAYERS=32\nelif [ $SIZE = 70B ]; then\n  LAYERS=80\nfi\n' +
      'case $SIZE in\n  7B) HEADS=32;;\nesac\npython a.py --layers $LAYERS --heads $HEADS --other $NEVER\n',
  );
  const words = commands.find(({ words: [first] }) => first?.text === 'python')?.words ?? [];
  expect(words.map(({ text }) => (isUnknown(text) ? '?' : text))).toEqual(
    'python a.py --layers ? --heads ? --other'.split(' '),
  );
  const given = read('if [ $1 = 7B ]; then LAYERS=32; fi\npython a.py $LAYERS\n', { arguments: ['7B'] });
  expect(given.commands.at(-1)?.words.map(({ text }) => text)).toEqual(['python', 'a.py', '32']);
});

test('what a batch script asks Slurm for is told by its variables, and counts the ranks of srun', () => {
  const { commands } = read(
    '#!/bin/bash\n#SBATCH --nodes=4 # four\n#SBATCH --ntasks-per-node 8\n#SBATCH --gres=gpu:h100:8\n' +
      'srun python a.py --nodes $SLURM_NNODES --ranks $SLURM_NTASKS --gpus $SLURM_GPUS_ON_NODE\n',
  );
  expect(commands[0]?.words.map(({ text }) => text)).toEqual(
    'srun python a.py --nodes 4 --ranks 32 --gpus 8'.split(' '),
  );
  expect(startedRanks([...(commands[0]?.startedBy ?? []), ...(commands[0]?.words.slice(0, 1) ?? [])])).toBe(32);
});

test('a loop or a recursion without an end ends', () => {
  expect(read('while true; do X=1; done\npython a.py\n').commands).toHaveLength(1);
  expect(read('f() { f; }\nf\npython a.py\n').commands).toHaveLength(1);
  expect(
    read('while true; do while true; do while true; do python a.py; done; done; done').assumptions[0]?.text,
  ).toMatch(/no further than/u);
});

test.each(['if [', 'A=(', '$(', '${', 'case x in', '"', '`', '((', 'f() {', '\0', 'a=${b//(/x}', '[[ a =~ ( ]]'])(
  'text that is no script does no harm: %j',
  (text) => {
    expect(() => read(`${text}\npython a.py ${text}`)).not.toThrow();
  },
);
