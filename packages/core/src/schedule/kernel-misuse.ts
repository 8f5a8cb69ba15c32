/** Whether an operation gives a kernel what its entry in the catalogue says. */
import { kernelSpec } from './kernels.js';
import type { FieldTypes, KernelSpec, Mode } from './kernels/kernel-spec.js';

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
