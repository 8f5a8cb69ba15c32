/**
 * Runs every example that `monta help <command>` shows, word for word in a shell, in a folder with files of the names
 * that they use. What needs a GPU or other hosts is run too: without them it has to say so, and end as bad input does.
 * What would take minutes is shortened, or with `--quick` left out where other tests do the same. No example may
 * print a stack trace. `npm run test:examples [-- --quick] [command …]`.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';

const root = fileURLToPath(new URL('..', import.meta.url));
const sqlite = createRequire(import.meta.url)('node-sqlite3-wasm');
const folder = mkdtempSync(join(tmpdir(), 'monta-examples-'));
const env = {
  ...process.env,
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  // More ranks than processors.
  OMPI_MCA_rmaps_base_oversubscribe: '1',
  PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`,
  HOME: folder,
};
mkdirSync(join(folder, '.config/fish/completions'), { recursive: true });

/** Longest that an example may take, seconds. */
const limit = 300;

/** Commands by what they need: those of a row use what rows before it made, and run beside each other. */
const rows = [
  { commands: ['calibrate', 'train', 'verify', 'memory', 'model'], before: makeRun },
  { commands: ['plan', 'cluster', 'validate', 'bench dispatch', 'bench layer', 'completion'] },
  { commands: ['simulate', 'explain', 'compare', 'convert', 'studio'], before: copyPlans },
  { commands: ['inspect', 'lint', 'doctor', 'trace'], before: otherLogs },
  { commands: ['export'] },
];

/** Flags behind an example that would take minutes. */
const shortened = [
  [/monta train(?!.*--(?:backend nccl|device|hosts|resume))/u, ' --steps 2 --trial-steps 0'],
  // What is resumed has two steps done.
  [/monta train.*--resume/u, ' --steps 4 --trial-steps 0'],
  [/^monta bench dispatch(?!.*nccl)/u, ' --only scattered --chunks 1 --rounds 1 --seconds 1'],
];

const quick = process.argv.includes('--quick');
// Where the answer flips takes as long as all the rest of such a plan.
if (quick) shortened.push([/^monta plan .*--layout/u, ' --no-flips']);
/** What trains, measures or draws routings: these have tests of their own, and pages that are followed. */
const slow = /monta (?:train|bench|verify)\b|--probe|--routing/u;

/** Examples that need what is not here, and what they then say. */
const refused = [
  [/--device cuda|--backend nccl/u, /CUDA|GPU|NCCL/u],
  [/--hosts a:8,b:8/u, /\b[ab]\b/u],
  // The run of this folder is a far smaller model.
  [/--like Mixtral-8x7B-v0.1/u, /Mixtral-8x7B-v0\.1/u],
];

const absentHere = (command) => refused.some(([pattern]) => pattern.test(command));

/** Exit codes beside 0: a script that would stop. */
const codesOf = (command) => (command.startsWith('monta lint') ? [0, 1] : [0]);

const run = (command, seconds = limit) =>
  new Promise((resolve) => {
    const child = spawn('bash', ['-c', command], { cwd: folder, env, timeout: seconds * 1e3 });
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data));
    child.on('close', (code, signal) => resolve({ code: code ?? signal, printed }));
  });

/** The examples of a command's help, each on one line. */
function examplesOf(command) {
  const help = execFileSync('monta', ['help', ...command.split(' ')], { env, encoding: 'utf8' });
  const shown = /^EXAMPLES\n([\s\S]*?)^(?:FLAGS|ARGUMENTS|COMMANDS)$/mu.exec(help)?.[1] ?? '';
  return shown
    .replaceAll(/\\\n\s*/gu, '')
    .split('\n')
    .filter((line) => /^ {2}(?:monta|mpirun) /u.test(line))
    .map((line) => line.trim().split(/ {3,}/u)[0]);
}

const example = (name) => join(root, 'examples', name);
const copy = (from, ...names) => names.forEach((name) => copyFileSync(from, join(folder, name)));
const write = (name, text) => writeFileSync(join(folder, name), text);

/** What nccl-tests prints on `ranks` devices of one node. */
const ncclLog = (ranks, gpu, factor) =>
  [
    '# Using devices',
    ...Array.from(
      { length: ranks },
      (_, i) => `#  Rank ${i} Group 0 Pid ${i + 1} on node01 device ${i} [0x0${i}] ${gpu}`,
    ),
    '# size count type redop root time algbw busbw #wrong time algbw busbw #wrong',
    '# (B) (elements) (us) (GB/s) (GB/s) (us) (GB/s) (GB/s)',
    ...[20, 22, 24, 26].map((power) => {
      const [bytes, micros] = [2 ** power, 30 + 2 ** power / (factor * 1e5)];
      const algorithm = (bytes / micros / 1e3).toFixed(2);
      const bus = ((bytes / micros / 1e3) * ((ranks - 1) / ranks)).toFixed(2);
      const cells = `${micros.toFixed(1)} ${algorithm} ${bus} 0`;
      return `${bytes} ${bytes / 4 / ranks} float none -1 ${cells} ${cells}`;
    }),
    '',
  ].join('\n');

/** What NCCL writes of a node with eight GPUs behind one NVSwitch and a NIC each. */
function topology() {
  const devices = Array.from({ length: 8 }, (_, i) => [
    `<pci busid="0000:${i}1:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">`,
    `<pci busid="0000:${i}2:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">`,
    `<gpu dev="${i}" sm="90" rank="${i}" gdr="1">`,
    '<nvlink target="ffff:ff:ff.f" count="18" tclass="0x068000"/></gpu></pci>',
    `<pci busid="0000:${i}3:00.0" class="0x020000" link_speed="32.0 GT/s PCIe" link_width="16">`,
    `<nic><net name="mlx5_${i}" dev="${i}" speed="400000" port="1" guid="0x${i}" gdr="1"/></nic></pci>`,
    '</pci>',
  ]).flat();
  const cpu = `<cpu numaid="0" affinity="ffff" arch="x86_64" vendor="GenuineIntel" familyid="6" modelid="143">`;
  return ['<system version="1">', cpu, ...devices, '</cpu>', '</system>', ''].join('\n');
}

/** Nsight Systems' export of one kernel of NCCL and one beside it. */
function nsysReport() {
  const database = new sqlite.Database(join(folder, 'report.sqlite'));
  database.exec(`
    CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);
    CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL
      (start INT, end INT, deviceId INT, streamId INT, globalPid INT, demangledName INT);
    CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, globalPid INT);
    INSERT INTO StringIds VALUES (1, 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)'), (2, 'cutlass_gemm');
    INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H100');
    INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES
      (1000, 5000, 0, 20, 281474976710656001, 1), (3000, 9000, 0, 7, 281474976710656001, 2);
  `);
  database.close();
}

/** What NCCL's Inspector writes of one rank. */
function inspectorLog() {
  const rows = [2 ** 20, 2 ** 22, 2 ** 24].map((size) => ({
    header: { id: '0x7f8c496ae9f661', rank: 0, n_ranks: 8, nnodes: 1 },
    metadata: { inspector_output_format_version: 'v4.0', hostname: 'node-1', pid: 7, dump_timestamp_us: 1 },
    coll_perf: {
      coll: 'AllReduce',
      coll_sn: size,
      coll_msg_size_bytes: size,
      coll_exec_time_us: 100,
      coll_timing_source: 'kernel_gpu',
      coll_algobw_gbs: size / 1e5,
      coll_busbw_gbs: (size / 1e5) * (14 / 8),
    },
  }));
  write('nccl-inspector-0.log', rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

/** What PyTorch's profiler writes of two ranks that exchange rows. */
function traces() {
  mkdirSync(join(folder, 'traces'));
  const about = { 'Collective name': 'all_to_allv', 'Group size': 2, dtype: 'BFloat16', 'Process Group Name': '1' };
  for (const rank of [0, 1]) {
    const calls = [0, 1, 2].map((call) => ({
      ph: 'X',
      cat: 'kernel',
      name: 'ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)',
      pid: 0,
      tid: 20,
      ts: 1000 + call * 500 + rank * 10,
      dur: 200 - rank * 10,
      args: {
        ...about,
        'In msg nelems': 2 ** 20,
        'Out msg nelems': 2 ** 20,
        'Process Group Ranks': '[0, 1]',
        stream: 20,
      },
    }));
    const gemm = { ph: 'X', cat: 'kernel', name: 'gemm', pid: 0, tid: 7, ts: 1300, dur: 150, args: { stream: 7 } };
    const distributedInfo = { backend: 'nccl', rank, world_size: 2 };
    const text = JSON.stringify({ schemaVersion: 1, distributedInfo, traceEvents: [...calls, gemm] });
    writeFileSync(join(folder, 'traces', `rank${rank}.json`), text);
    if (rank === 0) writeFileSync(join(folder, 'rank0.json.gz'), gzipSync(text));
  }
}

const tiny = { hiddenSize: 64, layers: 1, attentionHeads: 4, vocabSize: 256, experts: 8, topK: 2, expertFfn: 64 };

/** What `nvidia-smi topo -m` prints on a tray of four GPUs of a rack. */
function tray() {
  const gpus = Array.from({ length: 4 }, (_, gpu) => `GPU${gpu}`);
  const rows = gpus.map((gpu) => [gpu, ...gpus.map((other) => (other === gpu ? 'X' : 'NV18')), '0-71', '0'].join('\t'));
  return [['', ...gpus, 'CPU Affinity', 'NUMA Affinity'].join('\t'), ...rows, ''].join('\n');
}

/** Files of the names that examples use, before any runs. */
function prepare() {
  symlinkSync(join(root, 'fixtures'), join(folder, 'fixtures'));
  copy(example('qwen3-30b.sh'), 'train.sh', 'train_mixtral.sh');
  write('common.sh', '# sourced\n');
  copy(example('out-of-memory.log'), 'oom.log');
  copy(example('slow-all-to-all.log'), 'nccl-debug.log');
  write('flags.txt', '--num-experts 8 --moe-router-topk 2 --expert-model-parallel-size 8\n');
  write(
    'train.yaml',
    JSON.stringify({ model: tiny, cluster: 'laptop-2x4', layout: { tp: 2, dp: 4, ep: 2 }, batch: 4 }),
  );
  const a800 = 'NVIDIA A800-SXM4-80GB';
  const h100 = 'NVIDIA H100 80GB HBM3';
  write('a3mega.log', `# nccl-tests all_gather_perf\n${ncclLog(8, h100, 2)}`);
  write('roce.log', `# nccl-tests all_gather_perf\n${ncclLog(8, h100, 1.6)}`);
  write('new.log', `# nccl-tests reduce_scatter_perf\n${ncclLog(8, a800, 2)}`);
  const rows = [20, 22, 24].map((power) => `all_gather,8,1,${a800},${2 ** power},${30 + 2 ** power / 2e5}`);
  write('new.csv', ['op,ranks,nodes,gpu,size_bytes,time_us', ...rows, ''].join('\n'));
  copy(join(root, 'packages/core/src/estimate/fixtures/published-runs.csv'), 'runs.csv');
  write(
    'routing.json',
    JSON.stringify({ experts: 16, topK: 4, counts: [Array.from({ length: 16 }, (_, i) => 100 + i)] }),
  );
  for (const [name, fixture] of [
    ['Qwen3-30B-A3B', 'tiny-qwen3-moe'],
    ['Mixtral-8x7B-v0.1', 'tiny-mixtral'],
  ])
    cpSync(join(root, 'fixtures/hf', fixture), join(folder, name), { recursive: true });
  write('topo.xml', topology());
  traces();
  nsysReport();
  inspectorLog();
  copy(join(folder, 'topo.xml'), 'topo.txt');
  write('tray.txt', tray());
  write('train.log', ' iteration 20/ 100 | elapsed time per iteration (ms): 9500.0 | global batch size: 64 |\n');
  write('overrides.yaml', 'model:\n  expert_model_parallel_size: 8\n  num_moe_experts: 64\n');
  write('all_gather.log', `# nccl-tests all_gather_perf\n${ncclLog(8, a800, 2)}`);
  write('alltoall.log', `# nccl-tests alltoall_perf\n${ncclLog(8, a800, 1)}`);
}

/** A short run under the name that examples use, with the state that they name. */
async function makeRun() {
  const { printed } = await run('monta train train.yaml --steps 2 --trial-steps 0 --no-compare --output made');
  const [name] = existsSync(join(folder, 'made')) ? readdirSync(join(folder, 'made')) : [];
  if (name === undefined) throw new Error(printed);
  mkdirSync(join(folder, 'runs'));
  cpSync(join(folder, 'made', name), join(folder, 'runs/2026-11-24-a'), { recursive: true });
  const states = join(folder, 'runs/2026-11-24-a/checkpoints');
  const [state] = readdirSync(states).filter((one) => one.startsWith('step-'));
  cpSync(join(states, state), join(states, 'step-000300'), { recursive: true });
}

/** Files that what ran before made, and others of the same name; a plan of one stage can be simulated, too. */
async function copyPlans() {
  copy(join(folder, 'plan.json'), 'a.json', 'b.json');
  await run('monta plan --model olmoe-1b-7b --cluster h100-1x8 --framework monta --output plan.json');
  const [made] = readdirSync(join(folder, 'made'));
  copy(join(folder, 'made', made, 'trace.json'), 'trace.json');
}

function otherLogs() {
  copy(example('slow-all-to-all.log'), 'alltoall.log');
  copy(example('deepspeed-moe.json'), 'ds_config.json');
}

/** All of this, for single commands. */
async function makeAll() {
  await makeRun();
  await run('monta plan --model mixtral-8x22b --cluster h100-16x8 --framework megatron --output plan.json');
  await run('monta calibrate all_gather.log alltoall.log -o cluster.json');
  await copyPlans();
  otherLogs();
}

const failures = [];

async function tryOne(command) {
  const short = shortened.find(([pattern]) => pattern.test(command))?.[1] ?? '';
  const absent = refused.find(([pattern]) => pattern.test(command))?.[1];
  const start = performance.now();
  const studio = command.startsWith('monta studio');
  // The studio serves until Ctrl-C.
  const line = studio ? `timeout --preserve-status -s INT 3 ${command}` : command.replace(/ --steps \d+/u, '') + short;
  const { code, printed } = await run(line);
  const seconds = ((performance.now() - start) / 1e3).toFixed(1).padStart(6);
  const trace = /^ {4}at .*\(?(?:file:|node:|\/)/mu.test(printed);
  const codes = absent !== undefined ? [1, 2] : studio ? [0, 130] : codesOf(command);
  const right = codes.includes(code) && !trace && (absent === undefined || absent.test(printed));
  const how = absent === undefined ? short : '   (refused: not here)';
  process.stdout.write(`${right ? 'ok   ' : 'WRONG'} ${seconds} s  ${command}${how}\n`);
  if (!right) failures.push(`${command}: exit code ${code}\n${printed.slice(-1500)}`);
}

/** Runs a row's examples, those of one command one after another, two commands at a time. */
async function runRow({ commands, before }) {
  await before?.();
  const waiting = [...commands];
  const worker = async () => {
    for (let command = waiting.shift(); command !== undefined; command = waiting.shift())
      for (const line of examplesOf(command)) if (!quick || !slow.test(line) || absentHere(line)) await tryOne(line);
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
}

try {
  prepare();
  const asked = process.argv.slice(2).filter((word) => word !== '--quick');
  for (const row of asked.length === 0 ? rows : [{ commands: asked, before: makeAll }]) await runRow(row);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const failure of failures) process.stderr.write(`\n${failure}\n`);
process.exitCode = failures.length > 0 ? 1 : 0;
