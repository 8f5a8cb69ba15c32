/** What the passes of a pipeline's stages take, each distinct one simulated once, with all layers of its chunk. */
import type { Basis } from '../cost/index.js';
import type { Program, ProgramNode } from '../schedule/schedule.js';
import { gathersOnce } from '../schedule/shared-states.js';
import { stageChunks, type Chunk } from '../schedule/stages.js';
import type { StepShape } from '../schedule/step-shape.js';
import { isTransfer } from '../schedule/transfers.js';
import { simulate, type SimulationJob } from '../simulate/index.js';
import { appendAll } from '../units/index.js';

/** A part of a step: of each stage, the nodes that are asked for. */
export type PartOfStep = (nodes: (stage: number, program: Program) => readonly ProgramNode[]) => SimulationJob;

/** Passes of one chunk, seconds. */
export interface ChunkSeconds {
  readonly forward: number;
  /** Of the first micro-batch, where a rank gathers weights that others stepped; as the others when left out. */
  readonly first?: number;
  readonly backward: number;
  /** Backward of the last micro-batch until its gradients are reduced. */
  readonly reduced: number;
}

const backwards: readonly ProgramNode['pass'][] = ['recompute', 'backward'];

export class PassPrices {
  readonly basis = new Set<Basis>();
  /** What had no price. */
  readonly missing: string[] = [];
  readonly #step: StepShape;
  readonly #part: PartOfStep;
  readonly #chunks = new Map<string, ChunkSeconds>();
  readonly #edges = new Map<string, number>();
  #update: number | undefined;

  constructor(step: StepShape, part: PartOfStep) {
    this.#step = step;
    this.#part = part;
  }

  /** Norm and optimizer, once all stages have their gradients. */
  get updateSeconds(): number {
    this.#update ??= this.#simulate((_, { nodes }) => nodes.filter(({ pass }) => pass === 'update'));
    return this.#update;
  }

  /** The passes of chunk `number` of a stage; chunks with the same layers are one. */
  chunk(stage: number, number: number): ChunkSeconds {
    const chunk = stageChunks(this.#step, stage)[number];
    if (chunk === undefined) throw new RangeError(`stage ${stage} has no chunk ${number}`);
    const key = this.#kindOf(chunk, stage);
    let seconds = this.#chunks.get(key);
    if (seconds === undefined) this.#chunks.set(key, (seconds = this.#passes(stage, number)));
    return seconds;
  }

  /** What a stage hands to another takes on its way, with all its ranks at once. */
  transfer(from: number, to: number, pass: 'forward' | 'backward'): number {
    if (from === to) return 0;
    const key = `${from} ${to} ${pass}`;
    let seconds = this.#edges.get(key);
    if (seconds === undefined) {
      const one = (program: Program, name: string): ProgramNode[] =>
        program.nodes.filter(({ template }) => template === `${name}.${pass}`).slice(0, 1);
      seconds = this.#simulate((stage, program) =>
        stage === from ? one(program, 'send') : stage === to ? one(program, 'receive') : [],
      );
      this.#edges.set(key, seconds);
    }
    return seconds;
  }

  /** Equal for chunks whose passes are the same. Reductions of several chunks of a stage may be joined. */
  #kindOf({ first, last, firstLayer, endLayer, place }: Chunk, stage: number): string {
    const layers = this.#step.model.moeLayers.slice(firstLayer, endLayer).map(Number).join('');
    const joined = (this.#step.virtualStages ?? 1) > 1 ? `${stage} ${place}` : '';
    return `${first} ${last} ${layers} ${joined}`;
  }

  #passes(stage: number, number: number): ChunkSeconds {
    const { microBatches } = this.#step;
    const [one, two, end] = [0, 1, microBatches - 1].map((each) => number * microBatches + each);
    const run = (...wanted: readonly ((node: ProgramNode) => boolean)[]): number =>
      this.#simulate((each, { nodes }) =>
        each === stage ? wanted.flatMap((is) => nodes.filter((node) => is(node) && !isTransfer(node.template))) : [],
      );
    const forwardOf = (of: number | undefined) => (node: ProgramNode) =>
      node.microBatch === of && node.pass === 'forward';
    const backwardOf = (of: number | undefined) => (node: ProgramNode) =>
      node.microBatch === of && backwards.includes(node.pass);
    const first = run(forwardOf(one));
    const forward = microBatches > 1 && gathersOnce(this.#step) ? run(forwardOf(two)) : first;
    const once = run(forwardOf(one), backwardOf(one));
    // behind another micro-batch's passes, whose ends run beside it
    const again = microBatches > 1 ? run(forwardOf(one), backwardOf(one), forwardOf(two), backwardOf(two)) : 2 * once;
    const reduced = run(
      forwardOf(end),
      (node) => backwardOf(end)(node) || (node.pass === 'reduce' && node.microBatch === end),
    );
    const before = microBatches > 1 ? forward : first;
    return { first, forward, backward: again - once - before, reduced: reduced - before };
  }

  #simulate(nodesOf: (stage: number, program: Program) => readonly ProgramNode[]): number {
    const simulation = simulate(this.#part((stage, program) => alone(nodesOf(stage, program), program)));
    if (!simulation.known) {
      appendAll(this.missing, simulation.missing);
      return 0;
    }
    this.basis.add(simulation.summary.basis);
    return simulation.summary.makespanSeconds;
  }
}

/** Some of a program's nodes as a program: they wait for one another as they did, and for no other. */
function alone(chosen: readonly ProgramNode[], { nodes }: Program): ProgramNode[] {
  const placeOf = new Map(chosen.map((node, place) => [node, place]));
  return chosen.map((node, place) => {
    const after = node.after.flatMap((index) => {
      const awaited = nodes[index];
      return (awaited === undefined ? undefined : placeOf.get(awaited)) ?? [];
    });
    return { ...node, after: after.filter((before) => before < place) };
  });
}
