/**
 * What a stage of a pipeline has in flight: which chunks it holds, told apart by what lies in them, and of how many
 * passes of each kind it keeps the activations while another one runs.
 */
import type { MoeModel } from '../model/model.js';
import { passesInFlight, pipelineOrder } from '../schedule/pipeline-order.js';
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

/** Adds a state unless one that is known keeps as much; those that it outdoes go. */
function addState(states: InFlight[], state: InFlight): void {
  const outdoes = (one: InFlight, other: InFlight): boolean =>
    one.kept.every((count, place) => count >= (other.kept[place] ?? 0));
  if (states.some((known) => outdoes(known, state))) return;
  for (let index = states.length - 1; index >= 0; index--) {
    const known = states[index];
    if (known !== undefined && outdoes(state, known)) states.splice(index, 1);
  }
  states.push(state);
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

/** Throws `InputError` for stages or micro-batches that do not divide. */
export function stagePasses(step: StepShape, stage: number, known = new ChunkKinds()): StagePasses {
  const { model, layout, microBatches, virtualStages = 1 } = step;
  const pipeline = { stages: layout.pp, virtual: virtualStages, microBatches };
  const chunks = stageChunks(step, stage).map((chunk) => known.of(model, chunk));
  if (virtualStages === 1) {
    const kind = single(chunks);
    const kept = passesInFlight(pipeline, stage);
    return {
      kinds: chunks,
      states: [
        { pass: 'forward', kind, kept: [kept - 1] },
        { pass: 'backward', kind, kept: [kept] },
      ],
    };
  }
  const kinds = [...new Set(chunks)];
  const placeOf = chunks.map((kind) => kinds.indexOf(kind));
  const kept = kinds.map(() => 0);
  const states = { forward: kinds.map((): InFlight[] => []), backward: kinds.map((): InFlight[] => []) };
  for (const { pass, chunk } of pipelineOrder(pipeline, stage)) {
    const place = placeOf[chunk] ?? 0;
    const kind = kinds[place];
    if (kind !== undefined) addState(states[pass][place] ?? [], { pass, kind, kept: [...kept] });
    kept[place] = (kept[place] ?? 0) + (pass === 'forward' ? 1 : -1);
  }
  return { kinds, states: [...states.forward, ...states.backward].flat() };
}
