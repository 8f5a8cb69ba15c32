/**
 * The catalogue of kernels: what each is called, which operands it takes in which role and mode, and its arguments. An
 * operation of a template gives every role a use; a device's implementation gets these operands and arguments and can
 * reach nothing else. Weights, gradients and moments are operands like any other.
 */
import { attentionKernels } from './kernels/attention.js';
import { denseKernels } from './kernels/dense.js';
import { latentKernels } from './kernels/latent.js';
import { expertKernels } from './kernels/moe-experts.js';
import { routingKernels } from './kernels/moe-routing.js';
import { rowKernels } from './kernels/moe-rows.js';
import { updateKernels } from './kernels/update.js';
import type { BoundArgument, FieldTypes, KernelSpec } from './kernels/kernel-spec.js';

/** All kernels. `accumulate` says what the mode of the operand says too: the result is added to what is there. */
export const kernels = {
  ...denseKernels,
  ...attentionKernels,
  ...latentKernels,
  ...routingKernels,
  ...rowKernels,
  ...expertKernels,
  ...updateKernels,
} as const;

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

/** Roles of each kernel that change its speed where they are given. */
const rolesPricedApart = new Map<string, ReadonlySet<string>>(
  Object.entries<KernelSpec>(kernels).map(([name, { roles }]) => [
    name,
    new Set(Object.keys(roles).filter((role) => roles[role]?.pricedApart === true)),
  ]),
);

/** By what a kernel is priced: its name, and those optional operands that change its speed. */
export function priceKey(name: string, uses: readonly { readonly role: string }[]): string {
  const apart = rolesPricedApart.get(name);
  if (apart === undefined || apart.size === 0) return name;
  return [name, ...uses.map(({ role }) => role).filter((role) => apart.has(role))].join('+');
}
