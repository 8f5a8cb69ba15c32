/**
 * Reads what PyTorch's profiler writes (Kineto, Chrome trace JSON) while its text arrives in pieces. Only kernels,
 * copies, and what PyTorch says of collectives are parsed; all else is passed over, so that memory follows the number
 * of kernels and not the length of the file.
 */
import { JsonPieces } from '../trace/json-pieces.js';
import { InputError, isRecord, unionOf, type Interval, maxOf } from '../units/index.js';
import { bytesOf, groupOf, listedGroups, operationNamed } from './collective-arguments.js';
import { communicationKernel, shortKernelName, type CommunicationKernel } from './kernel-names.js';
import type { Communication, RankProfile } from './profile.js';

type Json = Readonly<Record<string, unknown>>;

/** Kinds of events that are parsed; names of 2021 have capitals. */
const wanted = /"cat"\s*:\s*"(kernel|gpu_memcpy|gpu_memset|memcpy|memset|cpu_op|operator)"/iu;

/** What the profiler puts around a step. */
const stepMark = /"name"\s*:\s*"ProfilerStep#(\d+)"/u;

interface Kernel {
  readonly kind: CommunicationKernel;
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly args: Json;
  readonly line: number;
}

const secondsPerMicrosecond = 1e-6;

/** Of the collective's arguments on the CPU's side, which stand in the kernel's too since PyTorch 2.2. */
const collectiveName = 'Collective name';

export interface KinetoOptions {
  /** Where the trace does not say which rank it is of, and neither does the file's name. */
  readonly rank?: number;
}

export class KinetoReader {
  readonly #file: string;
  readonly #json: JsonPieces;
  readonly #members = new Map<string, unknown>();
  readonly #compute: Interval[] = [];
  readonly #copies: Interval[] = [];
  readonly #kernels: Kernel[] = [];
  /** What PyTorch's calls said of a collective, by the id that their kernels bear. */
  readonly #calls = new Map<number, Json>();
  readonly #devices = new Set<number>();
  readonly #steps = new Set<string>();

  /** `file` is for messages, and for the rank in its name. */
  constructor(file: string) {
    this.#file = file;
    this.#json = new JsonPieces({
      array: 'traceEvents',
      onMember: (text, line) => this.#member(text, line),
      onElement: (text, _, line) => this.#event(text, line),
    });
  }

  /** Reads on. Throws `InputError` where the text is no trace. */
  push(piece: string): void {
    try {
      this.#json.push(piece);
    } catch (error) {
      throw this.#refusal(error);
    }
  }

  /** The text has ended. Throws `InputError` when it was cut short, or holds no kernel. */
  end({ rank: assumed }: KinetoOptions = {}): RankProfile {
    try {
      this.#json.end();
    } catch (error) {
      throw this.#refusal(error);
    }
    const spans = [...this.#compute, ...this.#copies, ...this.#kernels.map(({ start, end }): Interval => [start, end])];
    if (spans.length === 0)
      throw new InputError('has no kernel', {
        file: this.#file,
        expected: 'a trace of PyTorch with activities of the GPU',
        hint: 'was ProfilerActivity.CUDA on, and did a step run inside the profiled part?',
      });
    let [origin, last] = [Infinity, -Infinity];
    for (const [start, end] of spans) [origin, last] = [Math.min(origin, start), Math.max(last, end)];
    const from = (intervals: readonly Interval[]): Interval[] =>
      unionOf(intervals.map(([start, end]): Interval => [start - origin, end - origin]));
    const info = this.#record('distributedInfo');
    const { rank, notes } = this.#rank(info, assumed);
    const devices = this.#members.get('deviceProperties');
    const [device] = Array.isArray(devices) ? (devices as unknown[]) : [];
    const read = this.#communications(info, rank, origin);
    const version = info['nccl_version'];
    return {
      file: this.#file,
      rank,
      ...(typeof info['world_size'] === 'number' ? { world: info['world_size'] } : {}),
      device: isRecord(device) && typeof device['name'] === 'string' ? device['name'] : '',
      ...(Array.isArray(devices) && devices.length > 0 ? { devicesPerNode: devices.length } : {}),
      library: typeof version === 'string' ? `nccl ${version}` : 'nccl',
      seconds: last - origin,
      ...(this.#steps.size > 0 ? { steps: this.#steps.size } : {}),
      compute: from(this.#compute),
      copies: from(this.#copies),
      communications: read.communications,
      notes: [...notes, ...read.notes],
    };
  }

  #refusal(error: unknown): unknown {
    if (!(error instanceof SyntaxError)) return error;
    return new InputError(`cannot be read as a trace: it ${error.message}`, {
      file: this.#file,
      line: this.#json.line,
      expected: 'the JSON of PyTorch\'s profiler, an object with "traceEvents"',
    });
  }

  #record(name: string): Json {
    const value = this.#members.get(name);
    return isRecord(value) ? value : {};
  }

  #member(text: string, line: number): void {
    const value = this.#parsed(`{${text}}`, line);
    for (const [name, one] of Object.entries(value)) this.#members.set(name, one);
  }

  #parsed(text: string, line: number): Json {
    try {
      const value: unknown = JSON.parse(text);
      return isRecord(value) ? value : {};
    } catch (error) {
      throw new InputError(`cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`, {
        file: this.#file,
        line,
        expected: "an event of PyTorch's profiler",
      });
    }
  }

  #event(text: string, line: number): void {
    const category = wanted.exec(text)?.[1]?.toLowerCase();
    if (category === undefined) {
      const step = stepMark.exec(text)?.[1];
      if (step !== undefined) this.#steps.add(step);
      return;
    }
    if (category === 'cpu_op' || category === 'operator') {
      if (text.includes(collectiveName)) this.#call(this.#parsed(text, line));
      return;
    }
    const event = this.#parsed(text, line);
    const { name, ts, dur, args } = event;
    if (typeof name !== 'string') return;
    const start = Number(ts) * secondsPerMicrosecond;
    const end = start + Number(dur ?? 0) * secondsPerMicrosecond;
    if (!(end >= start))
      throw new InputError('has a kernel without a time', {
        file: this.#file,
        line,
        expected: 'ts and dur in microseconds',
      });
    const known = isRecord(args) ? args : {};
    if (typeof known['device'] === 'number') this.#devices.add(known['device']);
    if (category !== 'kernel') {
      this.#copies.push([start, end]);
      return;
    }
    const kind = communicationKernel(name);
    if (kind === undefined) this.#compute.push([start, end]);
    else this.#kernels.push({ kind, name, start, end, args: known, line });
  }

  #call({ args }: Json): void {
    if (!isRecord(args)) return;
    const id = args['External id'];
    if (typeof id === 'number') this.#calls.set(id, args);
  }

  #rank(info: Json, assumed: number | undefined): { rank: number; notes: string[] } {
    const told = info['rank'];
    if (typeof told === 'number') return { rank: told, notes: [] };
    const named = /rank[-_.]?(\d+)/iu.exec(this.#file)?.[1];
    if (named !== undefined)
      return { rank: Number(named), notes: [`rank ${named} by the file's name: the trace does not say`] };
    return {
      rank: assumed ?? 0,
      notes: [`taken as rank ${assumed ?? 0}: neither the trace nor the file's name says which it is`],
    };
  }

  #communications(info: Json, rank: number, origin: number): { communications: Communication[]; notes: string[] } {
    const listed = listedGroups(info);
    const lacking = { groups: 0, sizes: 0, splits: 0, local: 0, ranks: 0 };
    const communications = this.#kernels
      .sort((a, b) => a.start - b.start)
      .map((kernel): Communication => {
        const { kind, name, args: own, line } = kernel;
        const id = own['External id'];
        const args = own[collectiveName] === undefined && typeof id === 'number' ? (this.#calls.get(id) ?? own) : own;
        const called = args[collectiveName];
        const op = (typeof called === 'string' ? operationNamed(called) : undefined) ?? kind.op;
        const group = groupOf(args, listed) ?? expertGroup(op, [...listed.values()]);
        const { splitsCut, ...bytes } = bytesOf(op, args, group, rank);
        const sequence = args['Seq'];
        if (group === undefined) lacking.groups += 1;
        else if (group.ranks === undefined) lacking.ranks += 1;
        if (bytes.bytes === undefined) lacking.sizes += 1;
        if (splitsCut === true) lacking.splits += 1;
        if ((op === 'send' || op === 'receive') && group?.ranks === undefined) lacking.local += 1;
        return {
          op,
          library: kind.library,
          kernel: shortKernelName(name),
          start: kernel.start - origin,
          end: kernel.end - origin,
          ...(group === undefined ? {} : { group }),
          ...bytes,
          ...(typeof sequence === 'number' ? { sequence } : {}),
          line,
        };
      });
    return { communications, notes: notesOf(lacking, communications.length, this.#devices.size) };
  }
}

/**
 * Libraries for expert parallelism tell no group: the one that the program calls expert-parallel, if there is just one.
 */
function expertGroup(
  op: Communication['op'],
  listed: readonly { description: string; size: number; ranks?: readonly number[] }[],
): Communication['group'] {
  if (op !== 'dispatch' && op !== 'combine' && op !== 'notify') return undefined;
  const named = listed.filter(({ description }) => /^(?:ep|expert.*model.*parallel.*)$/iu.test(description));
  const widest = maxOf(named.map(({ size }) => size));
  const [one, another] = named.filter(({ size }) => size === widest);
  if (one === undefined || another !== undefined) return undefined;
  return { size: one.size, label: one.description, ...(one.ranks === undefined ? {} : { ranks: one.ranks }) };
}

function notesOf(
  { groups, sizes, splits, local, ranks }: Readonly<Record<'groups' | 'sizes' | 'splits' | 'local' | 'ranks', number>>,
  total: number,
  devices: number,
): string[] {
  const notes: string[] = [];
  const of = `of ${total} communication kernels`;
  if (groups > 0) notes.push(`${groups} ${of} do not say which group they are of (PyTorch says it since 2.2)`);
  if (sizes > 0) notes.push(`${sizes} ${of} do not say how many bytes they move`);
  if (splits > 0)
    notes.push(
      `${splits} exchanges have more than 30 splits, where the profiler cuts the list: what stays on the own rank ` +
        'is not known, so their bytes sent are not',
    );
  if (ranks > 0) notes.push(`${ranks} ${of} are of a group whose list of ranks is cut or missing`);
  if (local > 0)
    notes.push(
      `${local} sends and receives name their peers by places in such a group: which ranks they are is not known`,
    );
  if (devices > 1) notes.push(`kernels of ${devices} devices are in this file and are taken as one rank's`);
  return notes;
}
