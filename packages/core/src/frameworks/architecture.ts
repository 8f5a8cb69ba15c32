/** Which generation of GPU a device is, as far as launch flags care; volta is all below compute capability 8.0. */
export type Architecture = 'volta' | 'ampere' | 'hopper' | 'blackwell';

const patterns: readonly (readonly [RegExp, Architecture])[] = [
  [/\bG?B(?:100|200|300)/iu, 'blackwell'],
  [/\bG?H(?:20|100|200|800)\b/iu, 'hopper'],
  [/\bA(?:30|40|100|800)\b/iu, 'ampere'],
  [/\b(?:V100|P100|T4)\b/iu, 'volta'],
];

/** By the device's name, as `H100-SXM5-80GB`; undefined for any other. */
export const architectureOf = (device: string): Architecture | undefined =>
  patterns.find(([pattern]) => pattern.test(device))?.[1];
