/** What a compiled program promises, against the program that it was made of. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allStrategies, layoutOf } from '../../testing/strategies.js';
import { completeModel } from '../model/index.js';
import { groupSize } from '../layout/mesh.js';
import { compile, type CompiledOperation, type CompiledProgram } from './compile.js';
import { reductions, statedLayout } from './parameter-layout.js';
import { bucketGroups } from './parameter.js';
import type { Program, ProgramNode } from './schedule.js';
import { trainingStep } from './step.js';
import type { StepShape } from './step-shape.js';
import { chunksOverlap } from './region-users.js';
import { maxOf, minOf } from '../units/index.js';

const model = completeModel({
  name: 'test',
  hiddenSize: 16,
  layers: 3,
  attentionHeads: 4,
  vocabSize: 32,
  experts: 8,
  topK: 2,
  expertFfn: 16,
  denseFfn: 16,
  moeLayers: [true, false, true],
});

const stepOf = (more: Partial<StepShape> = {}): StepShape => ({
  model,
  layout: layoutOf({ tp: 2, dp: 2, ep: 2 }),
  sequence: 8,
  sequences: 2,
  microBatches: 2,
  dtype: 'f32',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 2, backward: 3 } },
  ...more,
});

/**
 * By operation, all that must have ended before it: by its queue, by what it waits for, and by what these come after.
 */
function ancestors({ operations, queues }: CompiledProgram): Set<number>[] {
  const previous = new Map<number, number>();
  for (const { operations: list } of queues) list.forEach((index, place) => previous.set(index, list[place - 1] ?? -1));
  const all: Set<number>[] = [];
  for (const { index, after } of operations) {
    const own = new Set<number>();
    for (const before of [...after, previous.get(index) ?? -1]) {
      if (before < 0) continue;
      own.add(before);
      for (const earlier of all[before] ?? []) own.add(earlier);
    }
    all.push(own);
  }
  return all;
}

/** Names of what an operation's use touches, apart from the chunk; a flat region is all of its parts. */
function touched(program: CompiledProgram, operation: number, place: number): string[] {
  const compiled = program.operations[operation];
  const instance = program.regions[compiled?.instances[place] ?? -1];
  if (!compiled || !instance) throw new RangeError('no such use');
  const { region, layer } = instance;
  if (region.parts) return region.parts.map((part) => `${part.layer} ${part.region}`);
  return [region.life === 'parameter' ? `${layer} ${region.id}` : `instance ${compiled.instances[place]}`];
}

/** Pairs of operations that touch the same rows, one of them writing, in an order that nothing keeps. */
function races(program: CompiledProgram): string[] {
  const before = ancestors(program);
  const uses = new Map<string, { operation: number; chunk: number; of: number; mode: string }[]>();
  const found: string[] = [];
  for (const { index, name, operation } of program.operations)
    operation.uses.forEach(({ chunk, of, mode }, place) => {
      for (const key of touched(program, index, place)) {
        const earlier = uses.get(key) ?? [];
        uses.set(key, earlier);
        for (const one of earlier) {
          if (one.operation === index || (one.mode === 'read' && mode === 'read')) continue;
          if (chunksOverlap(one, { chunk, of }) && !before[index]?.has(one.operation))
            found.push(`${program.operations[one.operation]?.name} and ${name} on ${key}`);
        }
        earlier.push({ operation: index, chunk, of, mode });
      }
    });
  return found;
}

/** The nodes of the passes in another order: every micro-batch's forward before any backward. */
function forwardsFirst(program: Program): Program {
  const order = ({ pass }: ProgramNode): number => (pass === 'forward' ? 0 : pass === 'update' ? 2 : 1);
  const nodes = program.nodes.map((node, index) => ({ node, index }));
  nodes.sort((a, b) => order(a.node) - order(b.node) || a.index - b.index);
  return { ...program, nodes: nodes.map(({ node }) => node) };
}

describe('compiled programs', () => {
  it('keep apart every two operations that touch the same rows, across nodes, in any order of micro-batches', () => {
    for (const [index, { layout, strategy }] of allStrategies([1, 3], [2]).entries()) {
      const passes = index % 2 === 0 ? 'beside' : 'behind';
      const program = trainingStep(stepOf({ layout, strategy, passes, reductionBytes: 2000 }));
      expect(races(compile(program))).toEqual([]);
      expect(races(compile(forwardsFirst(program)))).toEqual([]);
    }
  });

  it('keep them apart where the backward computes again what the forward did not keep', () => {
    for (const { layout, strategy } of allStrategies([2], [3]))
      for (const recompute of ['selective', 'full', ['moe']] as const) {
        const passes = recompute === 'selective' ? 'beside' : 'behind';
        const program = trainingStep(stepOf({ layout, strategy, recompute, passes, microBatches: 2 }));
        expect(program.nodes.some(({ pass }) => pass === 'recompute')).toBe(true);
        expect(races(compile(program))).toEqual([]);
        expect(races(compile(forwardsFirst(program)))).toEqual([]);
      }
  });

  it('would race without the dependencies between queues', () => {
    const compiled = compile(trainingStep(stepOf()));
    const cut = { ...compiled, operations: compiled.operations.map((one) => ({ ...one, after: [] })) };
    expect(races(cut).length).toBeGreaterThan(10);
  });

  it('tell of every region the uses behind which its memory is free', () => {
    const program = compile(trainingStep(stepOf()));
    const before = ancestors(program);
    const early = program.operations.flatMap(({ index, name, instances }) =>
      instances
        .map((instance) => program.regions[instance])
        .filter((one) => !one?.ends.some((end) => end === index || before[end]?.has(index)) || one.last < index)
        .map((one) => `${one?.region.id} before ${name}`),
    );
    expect(early).toEqual([]);
    expect(program.regions.some(({ ends }) => ends.length > 1)).toBe(true);
  });

  it('wait only for what is before them, on other queues, and each is told of who waits for it', () => {
    const { operations } = compile(trainingStep(stepOf()));
    for (const { index, queue, after } of operations)
      for (const before of after) {
        expect(before).toBeLessThan(index);
        expect(operations[before]?.queue).not.toBe(queue);
        expect(operations[before]?.dependents).toContain(index);
      }
  });

  it('let a region live from its first use to the end of the last node that names it', () => {
    const { regions, operations, nodes } = compile(trainingStep(stepOf()));
    regions.forEach(({ region, first, last, ends }, number) => {
      const users = operations.filter(({ instances }) => instances.includes(number)).map(({ index }) => index);
      expect(first).toBe(minOf(users));
      expect(last).toBeGreaterThanOrEqual(maxOf(users));
      expect(nodes.some((node) => node.first + node.count - 1 === last)).toBe(true);
      expect(ends.every((end) => users.includes(end))).toBe(true);
      const nodesOf = new Set(users.map((user) => operations[user]?.node));
      expect(region.life === 'layer' ? nodesOf.size : 1).toBe(1);
    });
  });

  it('keep collectives of different groups on queues of their own, and those of one group in order', () => {
    const { queues, operations } = compile(trainingStep(stepOf()));
    expect(queues.flatMap((queue) => queue.operations).sort((a, b) => a - b)).toEqual([...operations.keys()]);
    for (const { id, lane, group, operations: list } of queues) {
      expect(list.length).toBeGreaterThan(0);
      expect(list).toEqual([...list].sort((a, b) => a - b));
      for (const index of list) {
        const { body, lane: own } = operations[index]?.operation ?? {};
        expect(own).toBe(lane);
        expect(body?.kind === 'collective' ? body.group : undefined).toBe(group);
      }
      expect(id).toBe(group === undefined ? lane : `${lane} ${group}`);
    }
  });
});

describe('reductions of gradients', () => {
  const limits = fc.integer({ min: 1, max: 20_000 });
  const layouts = fc.constantFrom(
    ...['2 1', '1 4', '2 4'].map((text) => text.split(' ').map(Number) as [number, number]),
  );

  it('hold every gradient of a bucket once, and only those whose ranks share it', () => {
    fc.assert(
      fc.property(limits, layouts, (reductionBytes, [tp, dp]) => {
        const layout = layoutOf({ tp, dp, ep: 1 });
        const found = reductions(stepOf({ layout, reductionBytes }));
        const keys = found.flatMap(({ slots }) => slots.map(({ layer, slot }) => `${layer} ${slot}`));
        const shared = statedLayout({ model, layout }).slots.filter(
          ({ bucket }) => bucket !== 'fixed' && groupSize(layout, bucketGroups[bucket]) > 1,
        );
        expect(keys.sort()).toEqual(shared.map(({ layer, slot }) => `${layer} ${slot}`).sort());
        expect(found.map(({ stage }) => stage)).toEqual(found.map(({ stage }) => stage).sort((a, b) => b - a));
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  it('run beside the backward pass: the first does not wait for the last layer to be differentiated', () => {
    const program = compile(trainingStep(stepOf({ reductionBytes: 1 })));
    const before = ancestors(program);
    const reduces = program.operations.filter(({ template }) => template.name.startsWith('reduce.'));
    const backward = program.operations.filter(({ name }) => name.startsWith('embedding.backward'));
    expect(reduces.length).toBeGreaterThan(6);
    const last = backward.at(-1)?.index ?? 0;
    expect(reduces.filter(({ index }) => !before[index]?.has(last)).length).toBeGreaterThan(4);
    // nothing of the backward pass waits for a reduction either
    for (const { index } of backward) expect(reduces.some((reduce) => before[index]?.has(reduce.index))).toBe(false);
    // and the update waits for all of them
    const norm = program.operations.find(({ name }) => name === 'update/norm')?.index ?? 0;
    expect(reduces.every(({ index }) => before[norm]?.has(index))).toBe(true);
  });

  it.each([1, 2000, 1 << 20])('of at least %i bytes sum gradients that are whole', (reductionBytes) => {
    const program = compile(trainingStep(stepOf({ reductionBytes })));
    const before = ancestors(program);
    const written = ({ index, operation }: CompiledOperation): string[] =>
      operation.uses.flatMap(({ mode }, place) => (mode === 'read' ? [] : touched(program, index, place)));
    const reduces = program.operations.filter(
      ({ operation: { body } }) => body.kind === 'collective' && body.group === 'dp',
    );
    expect(reduces.length).toBeGreaterThan(0);
    for (const reduce of reduces) {
      const sums = new Set(written(reduce));
      const adds = program.operations.filter((one) => one.template.of && written(one).some((key) => sums.has(key)));
      expect(adds.length).toBeGreaterThan(1);
      expect(adds.filter(({ index }) => !before[reduce.index]?.has(index)).map(({ name }) => name)).toEqual([]);
    }
  });

  it('belong to the last micro-batch', () => {
    const { nodes } = trainingStep(stepOf({ microBatches: 3 }));
    expect(nodes.filter(({ pass }) => pass === 'reduce').every(({ microBatch }) => microBatch === 2)).toBe(true);
  });
});
