/**
 * Notices a run that diverges: loss or gradients that are not finite, or weights that are not when they are to be
 * saved.
 */
import { worldSize } from '@monta/core/layout';
import type { Communicator } from '../comm/communicator.js';
import { readInts } from '../device/host-array.js';
import type { HeldParameter, ParameterStore } from '../execute/index.js';
import type { RankContext } from '../launch/index.js';
import type { StepReport, TrainJob } from './job.js';

const usualBadSteps = 3;

/** The run goes on from here to nowhere. What was saved before is of finite weights. */
class Diverged extends Error {
  override readonly name = 'Diverged';
}

/** Elements that are looked at together. */
const pieceElements = 1 << 18;

/** No tensor: larger than any index of one. */
const none = 2 ** 31 - 1;

export class DivergenceWatch {
  readonly #context: RankContext<TrainJob>;
  readonly #store: ParameterStore;
  readonly #limit: number;
  readonly #communicator: Communicator | undefined;
  /** The steps in a row that were not finite, and where it showed. */
  #bad: { readonly first: number; readonly tensor: string } | undefined;

  constructor(context: RankContext<TrainJob>, store: ParameterStore) {
    const { endpoint, device, data: job } = context;
    const ranks = worldSize(job.step.layout);
    this.#context = context;
    this.#store = store;
    this.#limit = job.badSteps ?? usualBadSteps;
    const members = Array.from({ length: ranks }, (_, rank) => rank);
    this.#communicator = ranks === 1 ? undefined : endpoint.communicator('divergence', members, device.queue('copy'));
  }

  /**
   * Every rank calls it after each step, with what all ranks see alike. Returns whether the step was finite. Throws
   * `Diverged` after as many in a row that were not as the job says, and at its end.
   */
  after(number: number, { loss, gradientNorm }: Pick<StepReport, 'loss' | 'gradientNorm'>): boolean {
    if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) {
      this.#bad = undefined;
      return true;
    }
    const what = Number.isFinite(gradientNorm) ? 'the loss' : 'the gradients';
    this.#bad ??= { first: number, tensor: this.#place('gradient', what) };
    const { first, tensor } = this.#bad;
    const count = number - first + 1;
    const over = number === this.#context.data.steps;
    if (this.#limit > 0 && (count >= this.#limit || over)) {
      const steps = count === 1 ? `step ${first}` : `steps ${first} to ${number}`;
      throw new Diverged(`the run diverged: in ${steps} ${tensor}${this.#standing()}`);
    }
    return false;
  }

  /** Every rank calls it before a state is saved. Throws `Diverged` rather than have it replace a good one. */
  beforeSaving(number: number): void {
    const tensor = this.#firstBad('weight');
    if (tensor === undefined) return;
    throw new Diverged(
      `the run diverged: after step ${number} the weights of ${tensor} are not finite, nothing was ` +
        `saved${this.#standing()}`,
    );
  }

  #place(kind: 'gradient', what: string): string {
    const tensor = this.#firstBad(kind);
    if (tensor !== undefined) return `the gradients were not finite, first those of ${tensor}`;
    return what === 'the loss' ? 'the loss was not finite' : 'the norm of the gradients overflowed';
  }

  #standing(): string {
    const folder = this.#context.data.checkpoint?.folder;
    const advice = '; a lower learning rate, a longer warm-up or clipping may help';
    return folder === undefined ? advice : `; the last good checkpoint in ${folder} stays${advice}`;
  }

  /** The first tensor, in the model's order and over all ranks, with an element that is not finite. */
  #firstBad(kind: 'gradient' | 'weight'): string | undefined {
    const names = this.#store.list.map(({ name }) => name);
    const bad = new Set(
      this.#store
        .held()
        .filter((held) => this.#isBad(held, kind))
        .map(({ parameter }) => parameter.name),
    );
    const own = names.findIndex((name) => bad.has(name));
    const first = this.#least(own < 0 ? none : own);
    return first === none ? undefined : names[first];
  }

  /** Looks a piece at a time: a copy of a large tensor may not fit beside it. */
  #isBad({ parameter: { name }, length }: HeldParameter, kind: 'gradient' | 'weight'): boolean {
    for (let first = 0; first < length; first += pieceElements) {
      const values = new Float32Array(Math.min(pieceElements, length - first));
      this.#store.read(name, kind, values, first);
      if (values.some((value) => !Number.isFinite(value))) return true;
    }
    return false;
  }

  #least(own: number): number {
    const communicator = this.#communicator;
    if (communicator === undefined) return own;
    const { device } = this.#context;
    const sent = device.allocate('i32', 1);
    const received = device.allocate('i32', communicator.size);
    device.write(sent, Int32Array.of(own));
    device.wait(communicator.allGather(sent, received, { label: 'tensors that are not finite' }));
    const least = readInts(device, received).reduce((a, b) => Math.min(a, b), none);
    for (const view of [sent, received]) device.free(view);
    return least;
  }
}
