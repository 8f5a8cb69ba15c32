/**
 * The catalogue of kernels: what each is called, which operands it takes in which role and mode, and its arguments. An
 * operation of a template gives every role a use; a device's implementation gets these operands and arguments and can
 * reach nothing else. Weights, gradients and moments are operands like any other.
 */
import type { ClampedSwiglu, ExpertGroups, RopeScaling } from '../model/model.js';
import type { RowOrder, RowPairs, Scope } from './rows.js';

/** read; write: what was there before is lost; add: reads what is there and leaves it changed. */
export type Mode = 'read' | 'write' | 'add';

export interface Role {
  readonly modes: readonly Mode[];
  readonly optional?: true;
  /** Whether the kernel runs at another speed where an optional operand is given: such kernels are priced apart. */
  readonly pricedApart?: true;
}

/** Heads of attention over all TP ranks. */
export interface HeadArguments {
  readonly attentionHeads: number;
  readonly keyValueHeads: number;
  /** Width of a query and of a key. */
  readonly headDim: number;
  /** Width of a value, where it is another. */
  readonly valueDim?: number;
  /** Factor on scores beside 1 / sqrt(headDim). */
  readonly scoreScaling?: number;
}

/** Widths of latent attention, per head but for the rank. */
export interface LatentArguments {
  readonly keyValueRank: number;
  readonly nope: number;
  readonly rope: number;
  readonly value: number;
}

/** How experts are scored and chosen, where it is not softmax and the largest. */
export interface SelectionArgument {
  readonly scoring: 'softmax' | 'sigmoid';
  /** Factor on the weights of the chosen. */
  readonly scaling: number;
  readonly groups?: ExpertGroups;
}

/** Tokens that a token attends to, itself included, in the layers where the window holds. */
export interface WindowArgument {
  readonly tokens: number;
  readonly layers: readonly boolean[];
}

/** Types of argument fields. */
export interface FieldTypes {
  readonly number: number;
  readonly boolean: boolean;
  readonly scope: Scope;
  readonly order: RowOrder;
  readonly pairs: RowPairs;
  readonly heads: HeadArguments;
  readonly window: WindowArgument;
  readonly ropeScaling: RopeScaling;
  readonly swiglu: ClampedSwiglu;
  readonly latent: LatentArguments;
  readonly selection: SelectionArgument;
}

export type FieldTag = keyof FieldTypes | `${keyof FieldTypes}?`;

/**
 * Arguments that a template cannot hold, since they differ by rank, layer, step or routing; the executor binds them
 * when it launches.
 *   tp, etp: this rank's index and how many there are
 *   layer: number of the layer
 *   slice: [start, end) of the rank's tokens within the replica
 *   step: number, targets and optimizer of the training step;   tensors: where each parameter lies in the flat states
 *   send, arrived, section, returned, segments, moves: plans of row moves (see the runtime's `rows/`)
 */
export type BoundArgument =
  | 'tp'
  | 'etp'
  | 'layer'
  | 'slice'
  | 'step'
  | 'tensors'
  | 'send'
  | 'arrived'
  | 'section'
  | 'returned'
  | 'segments'
  | 'moves';

export interface KernelSpec {
  readonly roles: Readonly<Record<string, Role>>;
  readonly fields?: Readonly<Record<string, FieldTag>>;
  readonly bound?: readonly BoundArgument[];
}

const reads = { modes: ['read'] } as const;
const writes = { modes: ['write'] } as const;
const adds = { modes: ['add'] } as const;
const writesOrAdds = { modes: ['write', 'add'] } as const;
const mayRead = { modes: ['read'], optional: true } as const;
const mayWrite = { modes: ['write'], optional: true } as const;
const mayAdd = { modes: ['add'], optional: true } as const;

const projectionWeights = { queryWeight: reads, keyWeight: reads, valueWeight: reads } as const;
const queryKeyNorms = { queryNorm: mayRead, keyNorm: mayRead } as const;
const perHead = { heads: 'heads', clip: 'number?', epsilon: 'number' } as const;
const turned = { sequence: 'number', theta: 'number', scaling: 'ropeScaling?', interleaved: 'boolean?' } as const;
const rotary = { ...perHead, ...turned, rotaryDim: 'number?' } as const;
const latent = { heads: 'heads', latent: 'latent', ...turned } as const;
const attended = { heads: 'heads', sequence: 'number', window: 'window?' } as const;

/** All kernels. `accumulate` says what the mode of the operand says too: the result is added to what is there. */
export const kernels = {
  copy: { roles: { from: reads, to: writes } },
  fill: { roles: { to: writes }, fields: { value: 'number' } },
  /** to = a b, all three matrices: for timing a device, no template uses it. */
  gemm: { roles: { a: reads, b: reads, to: writes } },
  'residual.add': { roles: { from: reads, to: adds } },

  /** RMS norm in front of a layer; keeps the layer's input for the backward, unless it is kept already. */
  norm: { roles: { stream: reads, weight: reads, kept: mayWrite, normed: writes }, fields: { epsilon: 'number' } },
  'norm.backward': {
    roles: { normedGradient: reads, kept: reads, weight: reads, gradient: writesOrAdds, weightGradient: adds },
    fields: { epsilon: 'number', accumulate: 'boolean' },
  },

  'attention.project': {
    roles: {
      normed: reads,
      ...projectionWeights,
      queryBias: mayRead,
      keyBias: mayRead,
      valueBias: mayRead,
      projected: writes,
      raw: mayWrite,
    },
    fields: perHead,
    bound: ['tp'],
  },
  'attention.squares': { roles: { raw: reads, squares: writes }, fields: perHead, bound: ['tp'] },
  'attention.rotate': {
    roles: { projected: adds, raw: mayRead, squares: mayRead, ...queryKeyNorms },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.core': {
    roles: { projected: reads, sinks: mayRead, logSumExp: writes, context: writes },
    fields: attended,
    bound: ['tp', 'layer'],
  },
  /** The outputs of all TP ranks are summed: one of them adds the bias. */
  'attention.output': { roles: { context: reads, weight: reads, bias: mayRead, output: writes }, bound: ['tp'] },
  'attention.output.backward': {
    roles: {
      outputGradient: reads,
      context: reads,
      weight: reads,
      contextGradient: writes,
      weightGradient: adds,
      biasGradient: mayAdd,
    },
  },
  'attention.core.backward': {
    roles: {
      contextGradient: reads,
      projected: reads,
      sinks: mayRead,
      logSumExp: reads,
      context: reads,
      gradient: writes,
      sinksGradient: mayAdd,
    },
    fields: { ...attended, clip: 'number?' },
    bound: ['tp', 'layer'],
  },
  'attention.dots.backward': {
    roles: { gradient: adds, raw: reads, squares: reads, queryNorm: reads, keyNorm: reads, dots: writes },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.rotate.backward': {
    roles: {
      gradient: adds,
      raw: mayRead,
      squares: mayRead,
      dots: mayRead,
      ...queryKeyNorms,
      queryNormGradient: mayAdd,
      keyNormGradient: mayAdd,
    },
    fields: rotary,
    bound: ['tp'],
  },
  'attention.project.backward': {
    roles: {
      gradient: reads,
      normed: reads,
      ...projectionWeights,
      normedGradient: writes,
      queryWeightGradient: adds,
      keyWeightGradient: adds,
      valueWeightGradient: adds,
      queryBiasGradient: mayAdd,
      keyBiasGradient: mayAdd,
      valueBiasGradient: mayAdd,
    },
    fields: perHead,
    bound: ['tp'],
  },

  /**
   * Latent attention in three steps: down to low ranks (keys' and values' joined with the part of keys that turns),
   * their norms, up to heads. The norm of keys and values takes the first columns only. Without a rank of queries the
   * first two leave them out.
   */
  'latent.compress': {
    roles: {
      normed: reads,
      queryDown: mayRead,
      queryDownBias: mayRead,
      keyValueDown: reads,
      keyValueDownBias: mayRead,
      queryLow: mayWrite,
      keyValueLow: writes,
    },
  },
  'latent.norm': {
    roles: {
      queryLow: mayRead,
      queryNorm: mayRead,
      queryLowNormed: mayWrite,
      keyValueLow: reads,
      keyValueNorm: reads,
      keyValueLowNormed: writes,
    },
    fields: { epsilon: 'number' },
  },
  /**
   * Fills planes of queries, keys and values, rotated. `queryInput` is the normed low rank, or the layer's normed
   * input.
   */
  'latent.expand': {
    roles: {
      queryInput: reads,
      queryUp: reads,
      keyValueLow: reads,
      keyValueLowNormed: reads,
      keyValueUp: reads,
      projected: writes,
    },
    fields: latent,
    bound: ['tp'],
  },
  'latent.expand.backward': {
    roles: {
      gradient: reads,
      queryInput: reads,
      queryUp: reads,
      keyValueLowNormed: reads,
      keyValueUp: reads,
      queryInputGradient: writes,
      keyValueLowNormedGradient: writes,
      keyRopeGradient: writes,
      queryUpGradient: adds,
      keyValueUpGradient: adds,
    },
    fields: latent,
    bound: ['tp'],
  },
  'latent.norm.backward': {
    roles: {
      queryLow: mayRead,
      queryNorm: mayRead,
      queryLowNormedGradient: mayRead,
      queryLowGradient: mayWrite,
      queryNormGradient: mayAdd,
      keyValueLow: reads,
      keyValueNorm: reads,
      keyValueLowNormedGradient: reads,
      keyRopeGradient: reads,
      keyValueLowGradient: writes,
      keyValueNormGradient: adds,
    },
    fields: { epsilon: 'number' },
  },
  'latent.compress.backward': {
    roles: {
      normed: reads,
      queryLowGradient: mayRead,
      queryDown: mayRead,
      keyValueLowGradient: reads,
      keyValueDown: reads,
      normedGradient: writesOrAdds,
      queryDownGradient: mayAdd,
      queryDownBiasGradient: mayAdd,
      keyValueDownGradient: adds,
      keyValueDownBiasGradient: mayAdd,
    },
    fields: { accumulate: 'boolean' },
  },

  /**
   * With `tokenGate`, one row of weights, each token's output is multiplied by the sigmoid of its product with it,
   * which `scale` keeps.
   */
  mlp: {
    roles: {
      normed: reads,
      gate: reads,
      up: reads,
      down: reads,
      tokenGate: mayRead,
      gateUp: writes,
      activated: writes,
      output: writes,
      scale: mayWrite,
    },
  },
  'mlp.backward': {
    roles: {
      outputGradient: reads,
      normed: reads,
      gateUp: reads,
      gate: reads,
      up: reads,
      down: reads,
      tokenGate: mayRead,
      scale: mayRead,
      activated: writes,
      gateUpGradient: writes,
      normedGradient: writes,
      gateGradient: adds,
      upGradient: adds,
      downGradient: adds,
      tokenGateGradient: mayAdd,
    },
  },

  embedding: {
    roles: { tokens: reads, weight: reads, embedded: writes },
    fields: { vocabulary: 'number' },
    bound: ['tp'],
  },
  'embedding.backward': {
    roles: { tokens: reads, gradient: reads, weightGradient: adds },
    fields: { vocabulary: 'number' },
    bound: ['tp', 'step'],
  },
  'head.logits': { roles: { normed: reads, weight: reads, logits: writes } },
  'head.max': { roles: { logits: reads, max: writes }, fields: { vocabulary: 'number' }, bound: ['tp'] },
  'head.sums': {
    roles: { logits: reads, max: reads, tokens: reads, sums: writes },
    fields: { vocabulary: 'number' },
    bound: ['tp'],
  },
  'head.loss': {
    roles: { sums: reads, tokens: reads, statistics: reads, loss: adds },
    fields: { pooledTokens: 'number', microBatches: 'number', ranks: 'number' },
    bound: ['tp'],
  },
  'head.softmax.backward': {
    roles: { logits: adds, max: reads, sums: reads, tokens: reads },
    fields: { vocabulary: 'number' },
    bound: ['tp', 'step'],
  },
  'head.logits.backward': {
    roles: { logits: reads, normed: reads, weight: reads, normedGradient: writes, weightGradient: adds },
  },

  'moe.router': {
    roles: {
      normed: reads,
      weight: reads,
      bias: mayRead,
      selectionBias: mayRead,
      ids: writes,
      weights: writes,
      probabilities: writes,
      statistics: adds,
    },
    fields: { scope: 'scope', renormalise: 'boolean', selection: 'selection?' },
    bound: ['slice'],
  },
  /** Rows of k ids, then their probabilities before renormalising, by which picks are ranked. */
  'moe.picks': { roles: { ids: reads, probabilities: reads, picks: writes } },
  'moe.capacity': {
    roles: { probabilities: reads, ids: adds, weights: adds },
    fields: { factor: 'number', renormalise: 'boolean' },
  },
  /** From the picks of all slices: which of the own ones are kept depends on all. */
  'moe.capacity.gathered': {
    roles: { picks: reads, ids: adds, weights: adds },
    fields: { factor: 'number', experts: 'number', renormalise: 'boolean' },
    bound: ['slice'],
  },
  'moe.count': { roles: { ids: reads, counts: writes } },
  'moe.router.backward': {
    roles: {
      routeGradient: reads,
      ids: reads,
      probabilities: reads,
      statistics: reads,
      normed: reads,
      weight: reads,
      normedGradient: writes,
      weightGradient: adds,
      biasGradient: mayAdd,
    },
    fields: {
      scope: 'scope',
      renormalise: 'boolean',
      coefficient: 'number',
      pooledTokens: 'number',
      selection: 'selection?',
    },
    bound: ['slice'],
  },
  /** Rows of tokens into a send buffer, multiplied by their picks' weights where these are given. */
  'moe.pack': {
    roles: { source: reads, weights: { ...mayRead, pricedApart: true }, packed: writes },
    fields: { scope: 'scope', order: 'order' },
    bound: ['send'],
  },
  /** Between a communication buffer and the canonical order of expert rows. */
  'moe.place': { roles: { arrived: reads, canonical: writes }, fields: { order: 'order' }, bound: ['arrived'] },
  'moe.unplace': { roles: { canonical: reads, packed: writes }, fields: { order: 'order' }, bound: ['arrived'] },
  /** The section of this rank's etp index out of gathered rows. */
  'moe.take': { roles: { gathered: reads, own: writes }, fields: { order: 'order' }, bound: ['section'] },
  /** Sums each token's returned rows, weighted by its picks where weights are given. */
  'moe.combine': {
    roles: { returned: reads, weights: mayRead, combined: writesOrAdds },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number', accumulate: 'boolean' },
    bound: ['returned'],
  },
  /** Gradient of the picks' weights: products of each returned row and its token's gradient. */
  'moe.combine.weights': {
    roles: { returned: reads, gradient: reads, routeGradient: writes },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number' },
    bound: ['returned'],
  },

  /**
   * Every fine row gets its coarse row (see `dispatchers/row-layout.ts`); rows of others stay as they are with mode
   * add.
   */
  'rows.copy': {
    roles: { coarse: reads, fine: writesOrAdds },
    fields: { pairs: 'pairs', accumulate: 'boolean' },
    bound: ['moves'],
  },
  /**
   * Every coarse row is the sum of its fine rows, weighted by their picks where weights (of all tokens of the group)
   * are given.
   */
  'rows.sum': {
    roles: { fine: reads, weights: { ...mayRead, pricedApart: true }, coarse: writes },
    fields: { pairs: 'pairs' },
    bound: ['moves'],
  },
  /**
   * Gradients of expert rows, times their picks' weights; before, where outputs are given, the gradients of these
   * weights.
   */
  'rows.weigh': {
    roles: { weights: reads, gradient: adds, output: mayRead, weightGradient: mayWrite },
    fields: { pairs: 'pairs' },
    bound: ['moves'],
  },
  /** Gradients of picks' weights as they came back, pick by pick; 0 where a pick was dropped. */
  'picks.gradient': {
    roles: { returned: reads, routeGradient: writes },
    fields: { scope: 'scope', returnedScope: 'scope', order: 'order', chunks: 'number' },
    bound: ['returned'],
  },

  'moe.experts': {
    roles: {
      input: reads,
      gateUp: reads,
      down: reads,
      gateUpBias: mayRead,
      downBias: mayRead,
      gateUpRows: writes,
      activated: writes,
      output: writes,
    },
    fields: { clamp: 'swiglu?' },
    bound: ['segments', 'etp'],
  },
  'moe.experts.inputGradient': {
    roles: {
      outputGradient: reads,
      gateUpRows: reads,
      gateUp: reads,
      down: reads,
      activated: writes,
      gateUpGradient: writes,
      inputGradient: writes,
    },
    fields: { clamp: 'swiglu?' },
    bound: ['segments'],
  },
  'moe.experts.weightGradient': {
    roles: {
      input: reads,
      activated: reads,
      gateUpGradient: reads,
      outputGradient: reads,
      gateUpWeightGradient: adds,
      downWeightGradient: adds,
      gateUpBiasGradient: mayAdd,
      downBiasGradient: mayAdd,
    },
    bound: ['segments'],
  },

  /** This rank's share of the squares of all gradients, each divided by how many ranks hold it. */
  'update.norm': { roles: { gradients: reads, loss: adds }, bound: ['tensors'] },
  /** `computeWeights`: the copy that kernels compute with, where that is not in f32; it follows the weights. */
  'update.adamw': {
    roles: {
      gradients: reads,
      loss: reads,
      weights: adds,
      firstMoments: adds,
      secondMoments: adds,
      computeWeights: mayAdd,
    },
    bound: ['step', 'tensors'],
  },
} as const satisfies Record<string, KernelSpec>;

export type KernelName = keyof typeof kernels;

type Roles<Name extends KernelName> = (typeof kernels)[Name]['roles'];
/** Roles that an operation may leave out. */
type OptionalRole<Name extends KernelName> = {
  [R in keyof Roles<Name>]: Roles<Name>[R] extends { readonly optional: true } ? R : never;
}[keyof Roles<Name>];
export type RoleOf<Name extends KernelName> = keyof Roles<Name> & string;

/** One operand for every role that `Name` needs, and for the optional ones that it is given. */
export type OperandsOf<Name extends KernelName, Operand> = {
  readonly [R in Exclude<keyof Roles<Name>, OptionalRole<Name>>]: Operand;
} & { readonly [R in OptionalRole<Name>]?: Operand | undefined };

type FieldsOf<Name extends KernelName> = (typeof kernels)[Name] extends { readonly fields: infer Fields }
  ? Fields
  : object;
type FieldType<Tag> = Tag extends `${infer Type extends keyof FieldTypes}?`
  ? FieldTypes[Type]
  : Tag extends keyof FieldTypes
    ? FieldTypes[Tag]
    : never;
type OptionalField<Fields> = { [F in keyof Fields]: Fields[F] extends `${string}?` ? F : never }[keyof Fields];

/** Argument fields that a template gives the kernel. */
export type ArgumentsOf<Name extends KernelName> = {
  readonly [F in Exclude<keyof FieldsOf<Name>, OptionalField<FieldsOf<Name>>>]: FieldType<FieldsOf<Name>[F]>;
} & { readonly [F in OptionalField<FieldsOf<Name>>]?: FieldType<FieldsOf<Name>[F]> | undefined };

/** Names of the arguments that the executor binds for the kernel. */
export type BoundOf<Name extends KernelName> = (typeof kernels)[Name] extends {
  readonly bound: readonly (infer Bound)[];
}
  ? Bound & BoundArgument
  : never;

/** The entry of a kernel, or undefined. */
export const kernelSpec = (name: string): KernelSpec | undefined =>
  Object.hasOwn(kernels, name) ? kernels[name as KernelName] : undefined;

const hasType: { readonly [T in keyof FieldTypes]: (value: unknown) => boolean } = {
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  boolean: (value) => typeof value === 'boolean',
  scope: (value) => value === 'slice' || value === 'replica',
  order: (value) => typeof value === 'object' && value !== null && 'blocks' in value,
  pairs: (value) => typeof value === 'object' && value !== null && 'fine' in value && 'coarse' in value,
  heads: (value) => typeof value === 'object' && value !== null && 'headDim' in value,
  window: (value) => typeof value === 'object' && value !== null && 'layers' in value,
  ropeScaling: (value) => typeof value === 'object' && value !== null && 'kind' in value,
  swiglu: (value) => typeof value === 'object' && value !== null && 'limit' in value,
  latent: (value) => typeof value === 'object' && value !== null && 'keyValueRank' in value,
  selection: (value) => typeof value === 'object' && value !== null && 'scoring' in value,
};

/** An operand as the check sees it. */
interface CheckedUse {
  readonly role: string;
  readonly mode: Mode;
}

/**
 * What is wrong with a use of a kernel: unknown kernel or role, a role missing or given twice, a mode that the role
 * does not have, or argument fields that are unknown, missing or of the wrong type. Undefined when all is right.
 */
export function kernelMisuse(
  name: string,
  uses: readonly CheckedUse[],
  given: Readonly<Record<string, unknown>>,
): string | undefined {
  const spec = kernelSpec(name);
  if (spec === undefined) return `there is no kernel ${name}`;
  const seen = new Set<string>();
  for (const { role, mode } of uses) {
    const known = Object.hasOwn(spec.roles, role) ? spec.roles[role] : undefined;
    if (known === undefined) return `${name} has no role ${role}; it has ${Object.keys(spec.roles).join(', ')}`;
    if (!known.modes.includes(mode)) return `${name} takes ${role} to ${known.modes.join(' or ')}, not to ${mode}`;
    if (seen.has(role)) return `${name} is given ${role} twice`;
    seen.add(role);
  }
  for (const [role, { optional }] of Object.entries(spec.roles))
    if (optional !== true && !seen.has(role)) return `${name} needs an operand for ${role}`;
  return fieldMisuse(name, spec, given) ?? modeMisuse(name, spec, uses, given);
}

function fieldMisuse(name: string, spec: KernelSpec, given: Readonly<Record<string, unknown>>): string | undefined {
  const fields = spec.fields ?? {};
  for (const field of Object.keys(given)) if (!Object.hasOwn(fields, field)) return `${name} has no argument ${field}`;
  for (const [field, tag] of Object.entries(fields)) {
    const optional = tag.endsWith('?');
    const type = (optional ? tag.slice(0, -1) : tag) as keyof FieldTypes;
    if (given[field] === undefined ? !optional : !hasType[type](given[field]))
      return `${name} needs the argument ${field}, a ${type}`;
  }
  return undefined;
}

/** Where a role is written or added to, the argument `accumulate` tells the kernel which. */
function modeMisuse(
  name: string,
  spec: KernelSpec,
  uses: readonly CheckedUse[],
  given: Readonly<Record<string, unknown>>,
): string | undefined {
  const either = uses.find(({ role }) => (spec.roles[role]?.modes.length ?? 0) > 1);
  if (either === undefined || given['accumulate'] === (either.mode === 'add')) return undefined;
  return `${name} has accumulate ${String(given['accumulate'])} and an operand to ${either.mode}`;
}

/** By what a kernel is priced: its name, and those optional operands that change its speed. */
export function priceKey(name: string, uses: readonly { readonly role: string }[]): string {
  const spec = kernelSpec(name);
  if (spec === undefined) return name;
  const apart = uses.filter(({ role }) => spec.roles[role]?.pricedApart === true).map(({ role }) => role);
  return [name, ...apart].join('+');
}
