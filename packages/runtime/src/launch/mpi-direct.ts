/**
 * Jobs of processes that a person started: `mpirun -n 16 monta …`. Rank 0 leads, the others serve its jobs until it is
 * done.
 */
import { deserialize, serialize } from 'node:v8';
import { InputError } from '@monta/core/units';
import { createMpiEndpoint, loadMpi, type Mpi } from '../comm/mpi/index.js';
import type { Communicator, Endpoint } from '../comm/communicator.js';
import { CpuDevice } from '../device/cpu/index.js';
import type { DeviceEvent } from '../device/device.js';
import { elementBytes, type View } from '../device/view.js';
import { builtModule } from './built-module.js';
import type { LaunchOptions } from './launch-local.js';
import { setProcessJob, underMpirun, type MpiJob, type MpiPlace } from './current-job.js';
import { mpiPlace, type Launcher } from './launcher.js';

/** What rank 0 has the others do next. */
type Order =
  | {
      readonly kind: 'job';
      /** Counts jobs: a module runs anew for each. */
      readonly number: number;
      readonly workerModule: string;
      readonly data: unknown;
      readonly memoryBytes: number;
      readonly maximumMemoryBytes: number | undefined;
      readonly trace: boolean;
      readonly stuckAfterSeconds: number | undefined;
    }
  | { readonly kind: 'end' };

/** What a rank sends to rank 0 at the end of a job. */
interface Outcome {
  readonly result: unknown;
  readonly messages: readonly unknown[];
}

const controlBytes = 1 << 16;
const mebibyte = 2 ** 20;

/**
 * Runs `lead` on rank 0 of the processes that mpirun or `srun --mpi=pmix` started, with a launcher whose jobs all of
 * them run; every process calls it. Resolves on rank 0 with what `lead` returned, and on the others with undefined once
 * rank 0 is done. A job has as many ranks as there are processes. Rank 0's messages reach `onMessage` at once, those of
 * others when the job ends. When a rank fails, its reason goes to standard error, and all end with exit code 1.
 */
export async function leadMpirun<T>(lead: (launcher: Launcher) => Promise<T>): Promise<T | undefined> {
  const place = underMpirun();
  if (place === undefined) throw new Error('this process was started by neither mpirun nor srun --mpi=pmix');
  const mpi = loadMpi();
  mpi.initialise();
  const control = new ControlLine(mpi, place.localRanks);
  try {
    return place.rank === 0 ? await leading(control, place, lead) : await serving(control, place.rank);
  } finally {
    control.close();
    mpi.finalise();
  }
}

async function leading<T>(
  control: ControlLine,
  { launcher, size, starts }: MpiPlace,
  lead: (launcher: Launcher) => Promise<T>,
): Promise<T> {
  let number = 0;
  const launch = async (options: LaunchOptions): Promise<unknown[]> => {
    const { ranks, workerModule, workerData, memoryBytes, maximumMemoryBytes, trace = false, signal } = options;
    if (ranks !== size)
      throw new InputError(`the job has ${ranks} ranks, but ${launcher} started ${size} processes`, {
        expected: starts(ranks),
      });
    signal?.throwIfAborted();
    number += 1;
    const order: Order = {
      kind: 'job',
      number,
      workerModule: builtModule(workerModule).href,
      data: workerData,
      memoryBytes,
      maximumMemoryBytes,
      trace,
      stuckAfterSeconds: options.stuckAfterSeconds,
    };
    control.announce(order);
    const own = await runJob(order, 0, (message) => options.onMessage?.(0, message));
    const outcomes = [own, ...Array.from({ length: size - 1 }, (_, index) => control.hear(index + 1))];
    outcomes.forEach(({ messages }, rank) => messages.forEach((message) => options.onMessage?.(rank, message)));
    return outcomes.map(({ result }) => result);
  };
  try {
    return await lead({ backend: 'mpi', device: 'cpu', place: mpiPlace(), launch });
  } finally {
    control.announce({ kind: 'end' });
  }
}

async function serving(control: ControlLine, rank: number): Promise<undefined> {
  for (;;) {
    const order = control.await();
    if (order.kind === 'end') return undefined;
    const messages: unknown[] = [];
    const { result } = await runJob(order, rank, (message) => messages.push(message));
    control.tell({ result, messages });
  }
}

/** Runs this process's rank of a job; `onMessage` gets its messages. Does not return when a rank fails. */
async function runJob(
  order: Extract<Order, { kind: 'job' }>,
  rank: number,
  onMessage: (message: unknown) => void,
): Promise<Outcome> {
  let result: unknown;
  const over = new Promise<void>((resolve) => {
    const job: MpiJob = {
      description: { ...order, lostAfterSeconds: Infinity },
      aborted: () => undefined,
      message: onMessage,
      returned: (value) => {
        result = value;
      },
      closed: () => {
        resolve();
        return Promise.resolve();
      },
      failed: (culprit, error) => {
        process.stderr.write(
          `rank ${culprit} failed${culprit === rank ? '' : `, says rank ${rank}`}: ${error.stack}\n`,
        );
        loadMpi().abort(1);
        return Promise.resolve();
      },
    };
    setProcessJob({ backend: 'mpi', job });
  });
  // A module is evaluated once for each name that it is imported by.
  await import(`${order.workerModule}?job=${order.number}`);
  await over;
  return { result, messages: [] };
}

/** How rank 0 and the others talk between jobs. The others wait for as long as it takes: rank 0 may be planning. */
class ControlLine {
  private readonly device = CpuDevice.create({ bytes: controlBytes, maximumBytes: 1024 * mebibyte });
  private readonly endpoint: Endpoint & { close(): void };
  private readonly world: Communicator;

  constructor(mpi: Mpi, localRanks: number) {
    this.endpoint = createMpiEndpoint({ mpi, device: this.device, localRanks, stuckAfterSeconds: Infinity });
    const all = Array.from({ length: this.endpoint.size }, (_, index) => index);
    this.world = this.endpoint.communicator('orders', all, this.device.queue('control'));
  }

  announce(order: Order): void {
    this.transfer(serialize(order), (view) => this.world.broadcast(view, 0));
  }

  await(): Order {
    return this.receive((view) => this.world.broadcast(view, 0)) as Order;
  }

  tell(outcome: Outcome): void {
    this.transfer(serialize(outcome), (view) => this.world.send(view, 0));
  }

  hear(rank: number): Outcome {
    return this.receive((view) => this.world.receive(view, rank)) as Outcome;
  }

  close(): void {
    this.endpoint.close();
  }

  /** Length first, then the bytes. */
  private transfer(bytes: Uint8Array, move: Move): void {
    const length = this.device.allocate('i32', 1);
    this.device.write(length, Int32Array.of(bytes.length));
    this.finish(length, move);
    const content = this.device.allocate('u8', bytes.length);
    this.device.write(content, bytes);
    this.finish(content, move);
  }

  private receive(move: Move): unknown {
    const [bytes = 0] = new Int32Array(this.finish(this.device.allocate('i32', 1), move).buffer);
    return deserialize(this.finish(this.device.allocate('u8', bytes), move));
  }

  /** Moves a view and gives it back; its bytes after the move. */
  private finish(view: View, move: Move): Uint8Array {
    this.device.wait(move(view));
    const bytes = new Uint8Array(view.length * elementBytes[view.type]);
    this.device.read(view, bytes);
    this.device.free(view);
    return bytes;
  }
}

type Move = (view: View) => DeviceEvent;
