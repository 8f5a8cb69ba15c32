/** Nodes that gather weights and scatter gradients, against what ZeRO's stages say of memory, traffic and order. */
import { describe, expect, it } from 'vitest';
import { maxOf } from '../units/index.js';
import { parseLayout } from '../layout/resolve.js';
import { countParameters } from '../model/parameters.js';
import { getModel } from '../model/names.js';
import { compile, type CompiledOperation, type CompiledProgram } from './compile.js';
import { parameters, shardElements } from './parameters.js';
import type { SharedUpTo } from './state-sharing.js';
import { pipelineStep, trainingStep } from './step.js';
import type { StepShape } from './step-shape.js';

const stepOf = (shared: SharedUpTo, layout: string, change: Partial<StepShape> = {}): StepShape => ({
  model: getModel('deepseek-v2 truncated to 3 layers'),
  layout: parseLayout(layout),
  sequence: 256,
  sequences: 1,
  microBatches: 2,
  dtype: 'bf16',
  strategy: { dispatch: 'sliced', combine: 'scattered', chunks: { forward: 1, backward: 1 } },
  stateSharing: { dense: shared, expert: shared, weightType: 'bf16', gradientType: 'f32' },
  ...change,
});

/** Elements that the collectives of a name move over a step, by group. */
function moved({ operations }: CompiledProgram, name: string, group: string): number {
  return operations.reduce((sum, { operation, template }) => {
    const { body, uses } = operation;
    if (body.kind !== 'collective' || body.name !== name || body.group !== group) return sum;
    const id = uses.find(({ role }) => role === (name === 'all_gather' ? 'to' : 'from'))?.region;
    const rows = template.regions.find((region) => region.id === id)?.rows;
    return sum + (typeof rows === 'number' ? rows : 0);
  }, 0);
}

/** Operations that end before another starts. */
function before(compiled: CompiledProgram, start: CompiledOperation): Set<number> {
  const found = new Set<number>();
  const open = [start];
  const place = new Map(compiled.queues.flatMap(({ operations }) => operations.map((one, at) => [one, at] as const)));
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    const previous = compiled.queues[one.queue]?.operations[(place.get(one.index) ?? 0) - 1];
    for (const index of [...one.after, ...(previous === undefined ? [] : [previous])]) {
      const other = compiled.operations[index];
      if (other === undefined || found.has(index)) continue;
      found.add(index);
      open.push(other);
    }
  }
  return found;
}

/** On one rank with dp 4, ep 2: all weights but experts, and the experts that it holds. */
function heldElements({ model, layout }: StepShape): { readonly dense: number; readonly expert: number } {
  const held = parameters(model, layout).filter(({ expert }) => expert === undefined || expert < model.experts / 2);
  const sum = (expert: boolean): number =>
    held
      .filter((one) => (one.expert !== undefined) === expert)
      .reduce((total, one) => total + shardElements(one, layout, 0), 0);
  return { dense: sum(false), expert: sum(true) };
}

describe('weights shared over the ranks that hold them alike', () => {
  const step = stepOf('weights', 'dp=4,ep=2');
  const compiled = compile(trainingStep(step));
  const held = heldElements(step);

  it('travel twice a micro-batch, gradients once (ZeRO stage 3: arXiv 1910.02054, 7.2.2)', () => {
    expect(held.dense + 2 * held.expert).toBe(countParameters(step.model).total);
    expect(moved(compiled, 'all_gather', 'data')).toBe(2 * 2 * held.dense);
    expect(moved(compiled, 'all_gather', 'edp')).toBe(2 * 2 * held.expert);
    expect(moved(compiled, 'reduce_scatter', 'data')).toBe(2 * held.dense);
    expect(moved(compiled, 'reduce_scatter', 'edp')).toBe(2 * held.expert);
  });

  it('are whole in front of every kernel that reads them, for two units at a time', () => {
    const units = new Map<number, number>();
    for (const operation of compiled.operations) {
      operation.instances.forEach((instance, use) => {
        const region = compiled.regions[instance]?.region;
        if (region?.life !== 'pass' || operation.operation.uses[use]?.mode !== 'read') return;
        if (!region.id.endsWith('eights')) return;
        const gathers = compiled.operations.filter(
          (other) => other.template.name.startsWith('gather.') && other.instances.includes(instance),
        );
        const earlier = before(compiled, operation);
        expect(gathers.length).toBeGreaterThan(0);
        expect(gathers.every(({ index }) => index > operation.index || earlier.has(index))).toBe(true);
      });
    }
    for (const { region, first, last } of compiled.regions)
      if (region.life === 'pass' && region.id.endsWith('.weights'))
        for (let at = first; at <= last; at++) units.set(at, (units.get(at) ?? 0) + 1);
    expect(maxOf([...units.values()])).toBe(2);
  });

  it('are gathered once the unit before the last has ended, and gradients scattered once they are complete', () => {
    const ofNode = (node: number): CompiledOperation[] => compiled.operations.filter((one) => one.node === node);
    const { nodes } = compiled.program;
    let complete = 0;
    nodes.forEach((node, index) => {
      const [first] = ofNode(index);
      if (first === undefined || !/^scatter[.]m(oe|lp)$/u.test(node.template)) return;
      const earlier = before(compiled, first);
      nodes.forEach((other, place) => {
        if (other.layer !== node.layer || other.microBatch !== node.microBatch || other.pass !== 'backward') return;
        if (!other.template.endsWith('.backward')) return;
        expect(ofNode(place).every((one) => earlier.has(one.index))).toBe(true);
        complete++;
      });
    });
    // Two parts of three layers, twice.
    expect(complete).toBe(2 * 3 * 2);
    const gathers = nodes.filter(({ template }) => template.startsWith('gather.'));
    const waiting = gathers.filter(({ after }) => after.length > 0);
    // The first two of each of four passes have no unit before the last.
    expect(waiting.length).toBe(gathers.length - 2 * 4);
  });

  it('are what they were where one rank alone holds them', () => {
    const alone = stepOf('weights', 'tp=4,dp=1,ep=4,etp=1');
    const { stateSharing, ...unshared } = alone;
    expect(stateSharing).toBeDefined();
    expect(JSON.stringify(trainingStep(alone))).toBe(JSON.stringify(trainingStep(unshared)));
  });
});

describe('what is shared up to', () => {
  it('gradients: scattered every micro-batch, weights gathered once a step', () => {
    const step = stepOf('gradients', 'dp=4,ep=2');
    const compiled = compile(trainingStep(step));
    const held = heldElements(step);
    expect(moved(compiled, 'reduce_scatter', 'data')).toBe(2 * held.dense);
    expect(moved(compiled, 'all_gather', 'data')).toBe(held.dense);
    expect(moved(compiled, 'all_gather', 'edp')).toBe(held.expert);
  });

  it('the optimizer: both once a step, and nothing is whole for a while only', () => {
    const step = stepOf('optimizer', 'dp=4,ep=2');
    const compiled = compile(trainingStep(step));
    const held = heldElements(step);
    // Gradients of slots lie at multiples of 8 elements.
    expect(moved(compiled, 'reduce_scatter', 'dp') / held.dense).toBeCloseTo(1, 3);
    expect(moved(compiled, 'reduce_scatter', 'edp') / held.expert).toBeCloseTo(1, 3);
    expect(moved(compiled, 'all_gather', 'data')).toBe(held.dense);
    expect(compiled.regions.some(({ region }) => region.life === 'pass')).toBe(false);
  });

  it('each kind by itself: dense weights travel with every pass, experts once a step', () => {
    const states = { dense: 'weights', expert: 'optimizer', weightType: 'bf16', gradientType: 'f32' } as const;
    const step = stepOf('weights', 'dp=4,ep=2', { stateSharing: states });
    const compiled = compile(trainingStep(step));
    const held = heldElements(step);
    expect(moved(compiled, 'all_gather', 'data')).toBe(2 * 2 * held.dense);
    expect(moved(compiled, 'all_gather', 'edp')).toBe(held.expert);
    expect(compiled.program.nodes.some(({ template }) => template === 'gather.once.mlp')).toBe(false);
    const other = { ...states, dense: 'optimizer', expert: 'weights' } as const;
    const turned = compile(trainingStep({ ...step, stateSharing: other }));
    expect(moved(turned, 'all_gather', 'data')).toBe(held.dense);
    expect(moved(turned, 'all_gather', 'edp')).toBe(2 * 2 * held.expert);
  });

  it('weights, in a pipeline: every stage gathers its own', () => {
    const step = stepOf('weights', 'dp=4,pp=3,ep=2', { microBatches: 3 });
    const programs = pipelineStep(step).map((program) => compile(program));
    const held = heldElements({ ...step, layout: parseLayout('dp=4,ep=2') });
    const gathered = programs.reduce((sum, one) => sum + moved(one, 'all_gather', 'data'), 0);
    expect(gathered).toBe(2 * 3 * held.dense);
  });
});
