/**
 * What ranks that hold the same parameters share of them (ZeRO 1 to 3, FSDP, a distributed optimizer), as nodes of a
 * program. A unit is a layer, the embedding, or the head with the last norm; its weights travel together, those of its
 * experts besides, as a group of their own holds them.
 *
 * weights: each rank keeps its share. `gather.<unit>` makes the unit whole in front of its forward, and again in front
 * of its backward; it is issued while the unit before is computed, and not before the one before that has ended, so
 * that two are whole at a time (PyTorch FSDP2 with one unit prefetched; ZeRO stage 3, arXiv 1910.02054, 5.3).
 *
 * weights and gradients: a unit's gradients are whole from the beginning of its backward. `scatter.<unit>` adds them up
 * over the ranks, each keeps its share; it is issued behind the backward of the unit that follows, beside which it
 * runs, as FSDP2 gives its input back (`reduce_scatter_state`). This is done for every micro-batch.
 *
 * optimizer and gradients: weights are whole, but each rank steps its share of them: the others' are gathered, in
 * place, beside the forward of the next step's first micro-batch (Megatron-Core's `--overlap-param-gather`);
 * `gather.once.<unit>` stands in front of that forward in every step.
 *
 * Dense weights and experts' may be shared up to different things: each kind is gathered as its own says.
 */
import type { AxisGroup } from '../layout/layout.js';
import { groupSize } from '../layout/mesh.js';
import { activationOf } from './moe-shape.js';
import { isExpertSlot, type Bucket } from './parameter.js';
import { layerParameters, sharing as bucketsOf } from './layer-parameters.js';
import { shardElements } from './parameters.js';
import {
  blockTemplate,
  type Block,
  type Life,
  type Operation,
  type Pass,
  type Program,
  type ProgramNode,
  type Region,
  type Template,
} from './schedule.js';
import type { SharedUpTo, StateSharing } from './state-sharing.js';
import type { StepShape } from './step-shape.js';
import { add, read, TemplateBuilder, write } from './template-builder.js';
import { templateElements, type Elements } from './template-elements.js';

type Kind = keyof Elements;
const kinds: readonly Kind[] = ['dense', 'expert'];

/** Ranks that share a kind. */
const sharingGroups = { dense: 'data', expert: 'edp' } as const satisfies Record<Kind, AxisGroup>;

/** How far a kind is shared in a step: nothing where one rank alone holds it. */
const sharedUpTo = ({ stateSharing, layout }: Pick<StepShape, 'stateSharing' | 'layout'>, kind: Kind) =>
  stateSharing === undefined || groupSize(layout, sharingGroups[kind]) === 1 ? 'none' : stateSharing[kind];

/** Of a bucket of gradients; every rank keeps the selection biases. */
export const bucketSharedUpTo = (step: Pick<StepShape, 'stateSharing' | 'layout'>, bucket: Bucket): SharedUpTo =>
  bucket === 'fixed' ? 'none' : sharedUpTo(step, bucket === 'expert' ? 'expert' : 'dense');

/** Over how many ranks a bucket's optimizer is split. */
export const optimizerRanks = (step: Pick<StepShape, 'stateSharing' | 'layout'>, bucket: Bucket): number =>
  bucketSharedUpTo(step, bucket) === 'none'
    ? 1
    : groupSize(step.layout, sharingGroups[bucket === 'expert' ? 'expert' : 'dense']);

const units = ['embedding', 'moe', 'mlp', 'head'] as const satisfies readonly Block[];
type Unit = (typeof units)[number];

/** What a unit's regions are called: layers of either sort alike, as both have attention. */
const placeOf = (unit: Unit): string => (unit === 'moe' || unit === 'mlp' ? 'layer' : unit);

const regionIds: Readonly<Record<'weights' | 'gradients', Readonly<Record<Kind, string>>>> = {
  weights: { dense: 'weights', expert: 'expertWeights' },
  gradients: { dense: 'gradients', expert: 'expertGradients' },
};

/** Blocks of templates that a unit's passes run. */
const blocksOf = (unit: Unit): readonly Block[] => (placeOf(unit) === 'layer' ? ['attention', unit] : [unit]);

function unitElements(templates: Program['templates'], unit: Unit): Elements {
  const named = blocksOf(unit).flatMap((block) =>
    (['forward', 'backward'] as const).map((pass) => templates[blockTemplate(block, pass)]),
  );
  return templateElements(named.filter((one) => one !== undefined));
}

interface Shared {
  readonly step: StepShape;
  readonly sharing: StateSharing;
  readonly elements: Readonly<Record<Unit, Elements>>;
}

const sharesAny = (step: StepShape, upTo: readonly SharedUpTo[]): boolean =>
  kinds.some((kind) => upTo.includes(sharedUpTo(step, kind)));

/** Whether weights, or some of them, are gathered once a step, in front of its first forward. */
export const gathersOnce = (step: StepShape): boolean => sharesAny(step, ['optimizer', 'gradients']);

/** A unit's weights or gradients of a kind, whole. */
function wholeRegion(shared: Shared, unit: Unit, what: 'weights' | 'gradients', kind: Kind): Region | undefined {
  const { step, sharing, elements } = shared;
  const rows = elements[unit][kind];
  const upTo = sharedUpTo(step, kind);
  if (rows === 0 || upTo === 'none' || (what === 'gradients' && upTo === 'optimizer')) return undefined;
  const life: Life = what === 'gradients' || upTo === 'weights' ? 'pass' : 'parameter';
  const dtype = what === 'weights' ? sharing.weightType : sharing.gradientType;
  return { id: `${placeOf(unit)}.${regionIds[what][kind]}`, dtype, rows, columns: 1, order: 'rows', life };
}

/** What each rank keeps of a region. */
const ownShare = (region: Region, ranks: number): Region => ({
  ...region,
  id: `${region.id}.own`,
  rows: Math.ceil((region.rows as number) / ranks),
  life: 'parameter',
});

/** Weights of a unit of which TP ranks hold copies, and each has a part of the gradient of. */
function partialElements({ model, layout }: StepShape, unit: Unit): number {
  if (bucketsOf(layout).copies === 'dense') return 0;
  if (unit === 'embedding') return 0;
  if (unit === 'head') return bucketsOf(layout).norms === 'partial' ? model.hiddenSize : 0;
  const layer = model.moeLayers.indexOf(unit === 'moe');
  return layerParameters(model, layout, layer)
    .filter(({ bucket }) => bucket === 'partial')
    .reduce((sum, parameter) => sum + shardElements(parameter, layout, 0), 0);
}

/** In front of every pass, or of a step's first forward alone. */
type Gather = 'gather' | 'gather.once';

/** Of kinds that are gathered so. */
function gatherTemplate(shared: Shared, unit: Unit, gather: Gather): Template {
  const { layout } = shared.step;
  const builder = new TemplateBuilder();
  for (const kind of kinds) {
    const region = wholeRegion(shared, unit, 'weights', kind);
    if (region === undefined || (region.life === 'pass') !== (gather === 'gather')) continue;
    const group = sharingGroups[kind];
    builder.collective({
      id: `gather.${kind}`,
      lane: 'inter',
      collective: { name: 'all_gather', group },
      operands: {
        from: read(builder.region(ownShare(region, groupSize(layout, group)))),
        to: write(builder.region(region)),
      },
    });
  }
  return builder.build(`${gather}.${unit}`, activationOf(layout), activationOf(layout));
}

function scatterTemplate(shared: Shared, unit: Unit): Template {
  const { layout } = shared.step;
  const builder = new TemplateBuilder();
  for (const kind of kinds) {
    const region = wholeRegion(shared, unit, 'gradients', kind);
    if (region === undefined) continue;
    const group = sharingGroups[kind];
    const partial = kind === 'dense' ? partialElements(shared.step, unit) : 0;
    if (partial > 0)
      builder.collective({
        id: 'reduce.partial',
        lane: 'intra',
        collective: { name: 'all_reduce', group: 'tp' },
        operands: {
          buffer: add(builder.region({ ...region, id: `${region.id}.partial`, rows: partial, life: 'parameter' })),
        },
      });
    builder.collective({
      id: `scatter.${kind}`,
      lane: 'inter',
      collective: { name: 'reduce_scatter', group },
      operands: {
        from: read(builder.region(region)),
        to: write(builder.region(ownShare(region, groupSize(layout, group)))),
      },
    });
  }
  return builder.build(`scatter.${unit}`, activationOf(layout), activationOf(layout));
}

/** Names a region beside what an operation uses already: it has to be there while this runs. */
const beside = ({ id }: Region) => ({ role: 'shared', region: id, chunk: 0, of: 1, mode: 'read' as const });

/**
 * A template whose operations name the whole weights and gradients that they use. Gradients are handed out where the
 * backward of a unit begins, and weights are there, the embedding's too, as FSDP2 gathers whatever has a backward.
 * Attention stands in layers of both sorts: a region is as long as the node that gathers it,
 * or begins its backward, says.
 */
function withShared(template: Template, unit: Unit, shared: Shared): Template {
  const begins = template.of?.block === unit && template.of.pass === 'backward';
  const found = (['weights', 'gradients'] as const).flatMap((what) =>
    kinds.flatMap((kind) => {
      const region = wholeRegion(shared, unit, what, kind);
      return region === undefined ? [] : [{ what, kind, region }];
    }),
  );
  const declared = new Set<Region>();
  const parameters = new Map(template.regions.map(({ id, parameter }) => [id, parameter]));
  const operations = template.operations.map((operation, index): Operation => {
    const more = found.filter(({ what, kind, region }) => {
      const uses = operation.uses.some(({ region: id }) => {
        const parameter = parameters.get(id);
        return parameter?.what === what && isExpertSlot(parameter.slot) === (kind === 'expert');
      });
      const wanted = uses || (begins && index === 0);
      if (wanted) declared.add(region);
      return wanted;
    });
    return more.length === 0
      ? operation
      : { ...operation, uses: [...operation.uses, ...more.map((m) => beside(m.region))] };
  });
  return declared.size === 0 ? template : { ...template, operations, regions: [...template.regions, ...declared] };
}

/** The passes of one unit for one micro-batch. */
interface Visit {
  readonly unit: Unit;
  readonly layer: number;
  readonly microBatch: number;
  readonly pass: Extract<Pass, 'forward' | 'backward'>;
  /** Its nodes' places in the program without sharing. */
  readonly nodes: number[];
}

/** Visits in order, apart by micro-batch and direction. */
function visitsOf({ nodes, templates }: Program, { model }: StepShape): Visit[][] {
  const passes = new Map<string, Map<string, Visit>>();
  nodes.forEach(({ template, layer, microBatch, pass }, index) => {
    const block = templates[template]?.of?.block;
    const unit = block === 'attention' ? (model.moeLayers[layer] ? 'moe' : 'mlp') : block;
    if (unit === undefined) return;
    const direction = pass === 'forward' ? 'forward' : 'backward';
    const key = `${microBatch} ${direction}`;
    const visits = passes.get(key) ?? new Map<string, Visit>();
    passes.set(key, visits);
    const visit = visits.get(`${unit} ${layer}`) ?? { unit, layer, microBatch, pass: direction, nodes: [] };
    visits.set(`${unit} ${layer}`, visit);
    visit.nodes.push(index);
  });
  return [...passes.values()].map((visits) => [...visits.values()]);
}

/** A node to be put in, and the visit whose end it waits for. */
interface Inserted {
  readonly template: string;
  readonly visit: Visit;
  readonly behind?: Visit;
}

/** Nodes of a program with others put before and behind some of them; what they wait for is numbered anew. */
class Insertion {
  readonly #before = new Map<number, Inserted[]>();
  readonly #behind = new Map<number, Inserted[]>();

  before(place: number, one: Inserted): void {
    this.#before.set(place, [...(this.#before.get(place) ?? []), one]);
  }

  behind(place: number, one: Inserted): void {
    this.#behind.set(place, [...(this.#behind.get(place) ?? []), one]);
  }

  into(nodes: readonly ProgramNode[]): ProgramNode[] {
    const list: ProgramNode[] = [];
    const placed: number[] = [];
    const push = ({ template, visit, behind }: Inserted): void => {
      const { layer, microBatch, pass } = visit;
      const after = (behind?.nodes ?? []).map((index) => placed[index] ?? 0);
      list.push({ template, layer, microBatch, pass, after });
    };
    nodes.forEach((node, index) => {
      this.#before.get(index)?.forEach(push);
      placed.push(list.length);
      list.push({ ...node, after: node.after.map((other) => placed[other] ?? 0) });
      this.#behind.get(index)?.forEach(push);
    });
    return list;
  }
}

/**
 * The program with what sharing adds to it: the same one where nothing is shared. The executor runs none of it:
 * whoever trains refuses a plan that shares.
 */
export function sharedStates(program: Program, step: StepShape): Program {
  const { stateSharing: sharing } = step;
  if (sharing === undefined || !sharesAny(step, ['optimizer', 'gradients', 'weights'])) return program;
  const { templates } = program;
  const entries = units.map((unit) => [unit, unitElements(templates, unit)] as const);
  const shared: Shared = { step, sharing, elements: Object.fromEntries(entries) as Record<Unit, Elements> };
  const added = units
    .flatMap((unit) => [
      gatherTemplate(shared, unit, 'gather'),
      gatherTemplate(shared, unit, 'gather.once'),
      scatterTemplate(shared, unit),
    ])
    .filter(({ operations }) => operations.length > 0);
  const names = new Set(added.map(({ name }) => name));
  const insertion = new Insertion();
  for (const visits of visitsOf(program, step)) insertVisits({ insertion, visits, step, names });
  const nodes = insertion.into(program.nodes);
  // The larger of the two sorts stands for attention's.
  const layer = unitOfLayers(shared);
  const changed = Object.entries(templates).map(([name, template]): [string, Template] => {
    const block = template.of?.block;
    const unit = block === 'attention' ? layer : block;
    return [name, unit === undefined ? template : withShared(template, unit, shared)];
  });
  return {
    ...program,
    templates: { ...Object.fromEntries(changed), ...Object.fromEntries(added.map((one) => [one.name, one])) },
    nodes,
  };
}

const unitOfLayers = ({ elements: { moe, mlp } }: Shared): Unit =>
  moe.dense + moe.expert > mlp.dense + mlp.expert ? 'moe' : 'mlp';

/** Puts in those of the templates that have something to move. */
function insertVisits({
  insertion,
  visits,
  step,
  names,
}: {
  readonly insertion: Insertion;
  readonly visits: readonly Visit[];
  readonly step: StepShape;
  readonly names: ReadonlySet<string>;
}): void {
  const [{ pass, microBatch } = { pass: undefined, microBatch: 0 }] = visits;
  const first = pass === 'forward' && microBatch % step.microBatches === 0;
  visits.forEach((visit, place) => {
    const at = visits[Math.max(0, place - 1)]?.nodes[0];
    const gather = (name: Gather, behind?: Visit): void => {
      const template = `${name}.${visit.unit}`;
      if (at === undefined || !names.has(template)) return;
      insertion.before(at, { template, visit, ...(behind === undefined ? {} : { behind }) });
    };
    if (first) gather('gather.once');
    gather('gather', visits[place - 2]);
    const scatter = `scatter.${visit.unit}`;
    const end = (visits[place + 1] ?? visit).nodes.at(-1);
    if (pass === 'backward' && end !== undefined && names.has(scatter))
      insertion.behind(end, { template: scatter, visit, behind: visit });
  });
}
