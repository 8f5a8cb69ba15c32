/**
 * What a stage of a pipeline has in flight: which chunks it holds, told apart by what lies in them, and of how many
 * passes of each kind it keeps the activations while another one runs.
 */
import type { MoeModel } from '../model/model.js';
import {
  checkPipeline,
  chunkOf,
  passesInFlight,
  warmUpPasses,
  type PipelineShape,
} from '../schedule/pipeline-order.js';
import { stageChunks, type Chunk } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';

/** Layers of one sort, one behind the other. */
export interface Run {
  readonly block: 'moe' | 'mlp';
  readonly layers: number;
}

/** Chunks of a kind take the same memory. */
export interface ChunkKind {
  /** Holds the embedding, and the head. */
  readonly first: boolean;
  readonly last: boolean;
  readonly runs: readonly Run[];
}

/** Kinds, each once. */
export class ChunkKinds {
  readonly #known = new Map<string, ChunkKind>();

  of({ moeLayers }: Pick<MoeModel, 'moeLayers'>, chunk: Chunk): ChunkKind {
    const { first, last } = chunk;
    const runs = runsOf(moeLayers, chunk);
    const key = `${first} ${last} ${runs.map(({ block, layers }) => `${block} ${layers}`).join(' ')}`;
    const known = this.#known.get(key) ?? { first, last, runs };
    this.#known.set(key, known);
    return known;
  }
}

/** A pass at work, and what is kept beside it. */
export interface InFlight {
  readonly pass: 'forward' | 'backward';
  readonly kind: ChunkKind;
  /** Passes that are kept, by the stage's kinds; of a backward its own too. */
  readonly kept: readonly number[];
}

export interface StagePasses {
  readonly kinds: readonly ChunkKind[];
  /** Only those than which no other keeps as many passes of every kind. */
  readonly states: readonly InFlight[];
}

function runsOf(moeLayers: readonly boolean[], { firstLayer, endLayer }: Chunk): Run[] {
  const runs: { block: Run['block']; layers: number }[] = [];
  for (let layer = firstLayer; layer < endLayer; layer++) {
    const block = moeLayers[layer] ? 'moe' : 'mlp';
    const last = runs.at(-1);
    if (last?.block === block) last.layers += 1;
    else runs.push({ block, layers: 1 });
  }
  return runs;
}

/** Rows of counts of which none has as many as another in every place. */
class MostKept {
  readonly #width: number;
  #rows = new Int32Array(0);
  #end = 0;

  constructor(width: number) {
    this.#width = width;
  }

  /** A row, unless one that is there has as many; those that it outdoes go. */
  add(kept: Int32Array): void {
    const width = this.#width;
    for (let row = 0; row < this.#end; row += width) if (this.#lacks(row, kept, 1) === 0) return;
    let left = 0;
    for (let row = 0; row < this.#end; row += width) {
      if (this.#lacks(row, kept, -1) === 0) continue;
      this.#rows.copyWithin(left, row, row + width);
      left += width;
    }
    this.#end = left + width;
    if (this.#end > this.#rows.length) {
      const more = new Int32Array(8 * this.#end);
      more.set(this.#rows);
      this.#rows = more;
    }
    this.#rows.set(kept, left);
  }

  /** Places in which a row has fewer than is kept; with sign -1 those in which it has more. */
  #lacks(row: number, kept: Int32Array, sign: number): number {
    let lacking = 0;
    for (let place = 0; place < kept.length; place++)
      if (((kept[place] ?? 0) - (this.#rows[row + place] ?? 0)) * sign > 0) lacking += 1;
    return lacking;
  }

  states(pass: InFlight['pass'], kind: ChunkKind): InFlight[] {
    const width = this.#width;
    return Array.from({ length: this.#end / width }, (_, row) => ({
      pass,
      kind,
      kept: [...this.#rows.subarray(row * width, (row + 1) * width)],
    }));
  }
}

/**
 * The passes of a device whose two stages lie as far from either end of the pipeline (DualPipeV). A stage keeps as many
 * micro-batches as stages follow it, itself among them: one more than stages on both together.
 */
export function foldedPasses(step: StepShape, device: number, known = new ChunkKinds()): StagePasses {
  const { model, layout, microBatches } = step;
  const all = 2 * layout.pp;
  const places = [device, all - 1 - device];
  const pipeline = { ...step, layout: { ...layout, pp: all }, virtualStages: 1 };
  const chunks = places.map((place) => known.of(model, single(stageChunks(pipeline, place))));
  const kinds = [...new Set(chunks)];
  const kept = kinds.map(() => 0);
  chunks.forEach((kind, index) => {
    const place = kinds.indexOf(kind);
    kept[place] = (kept[place] ?? 0) + Math.min(microBatches, all - (places[index] ?? 0));
  });
  const states = kinds.flatMap((kind, place): InFlight[] => [
    { pass: 'forward', kind, kept: kept.map((count, index) => count - Number(index === place)) },
    { pass: 'backward', kind, kept },
  ]);
  return { kinds, states };
}

function single<T>([one]: readonly T[]): T {
  if (one === undefined) throw new RangeError('nothing where one is expected');
  return one;
}

/** What a stage keeps while passes run, by the place of the kind at work. */
interface KeptBeside {
  readonly forward: readonly MostKept[];
  readonly backward: readonly MostKept[];
}

/** `placeOf`: by chunk, the place of its kind. */
function addPasses(to: KeptBeside, pipeline: PipelineShape, stage: number, placeOf: Int32Array): void {
  const { stages, virtual, microBatches } = pipeline;
  const total = microBatches * virtual;
  const warmUp = warmUpPasses(pipeline, stage);
  const kept = new Int32Array(to.forward.length);
  // In the order of `pipelineOrder`. A round of all chunks behind the first backward finds what the one before has
  // found, or less.
  const end = Math.min(total, stages * virtual);
  for (let number = -warmUp; number < end; number++) {
    if (warmUp + number < total) {
      const place = placeOf[chunkOf(pipeline, 'forward', warmUp + number)] ?? 0;
      to.forward[place]?.add(kept);
      kept[place] = (kept[place] ?? 0) + 1;
    }
    if (number < 0) continue;
    const place = placeOf[chunkOf(pipeline, 'backward', number)] ?? 0;
    to.backward[place]?.add(kept);
    kept[place] = (kept[place] ?? 0) - 1;
  }
}

/** Throws `InputError` for stages or micro-batches that do not divide. */
export function stagePasses(step: StepShape, stage: number, known = new ChunkKinds()): StagePasses {
  const { model, layout, microBatches, virtualStages = 1 } = step;
  const pipeline = { stages: layout.pp, virtual: virtualStages, microBatches };
  checkPipeline(pipeline);
  const chunks = stageChunks(step, stage).map((chunk) => known.of(model, chunk));
  const kinds = [...new Set(chunks)];
  if (kinds.length === 1) {
    const kind = single(kinds);
    const kept = passesInFlight(pipeline, stage);
    return {
      kinds,
      states: [
        { pass: 'forward', kind, kept: [kept - 1] },
        { pass: 'backward', kind, kept: [kept] },
      ],
    };
  }
  const most = (): MostKept[] => kinds.map(() => new MostKept(kinds.length));
  const kept: KeptBeside = { forward: most(), backward: most() };
  const placeOf = Int32Array.from(chunks, (kind) => kinds.indexOf(kind));
  addPasses(kept, pipeline, stage, placeOf);
  const states = kinds.flatMap((kind, place) => [
    ...(kept.forward[place]?.states('forward', kind) ?? []),
    ...(kept.backward[place]?.states('backward', kind) ?? []),
  ]);
  return { kinds, states };
}
