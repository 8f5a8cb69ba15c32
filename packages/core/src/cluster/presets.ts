/** Known clusters by name. */
import { InputError } from '../units/errors.js';
import { didYouMean } from '../units/nearest.js';
import type { Cluster, Tier } from './cluster.js';
import { families, type Family } from './families.js';

/** A cluster of a family: `nodes` nodes of `devices` devices behind `nics` NICs each. */
function build({
  name,
  family,
  nodes,
  devices,
  nics,
}: {
  readonly name: string;
  readonly family: Family;
  readonly nodes: number;
  readonly devices: number;
  readonly nics: number;
}): Cluster {
  const ports = family.links ?? 1;
  const inner: Tier = { ...family.inner, size: devices, ports, railAligned: false, crossRailSlowdown: 1 };
  const outer: Tier = { ...family.outer, size: nodes, ports: nics };
  return { name, device: family.device, tiers: nodes === 1 ? [inner] : [inner, outer], sources: family.sources };
}

const names = [
  'a800-2x8',
  'a800-2x8-1nic',
  'a800-2x8-8nic',
  'a800-1x8',
  'a100-2x8',
  'h100-2x8',
  'h800-2x8',
  'h200-2x8',
  'h20-2x8',
  'b200-2x8',
  'b300-2x8',
  'gb200-nvl72',
  'gb300-nvl72',
  'mi300x-2x8',
  'laptop-2x4',
];

const pattern = /^([a-z][a-z0-9]*)-(\d+)x(\d+)(?:-(\d+)nics?)?(?:-(\d+)g)?$/u;
/** A slip of the keyboard rather than a machine. */
const mostNodes = 65_536;
/** Bytes a second of one Gb/s. */
const gigabit = 1e9 / 8;

/**
 * A known cluster by name: one of `clusterPresets`, or by pattern `h100-16x8` (16 nodes of 8), `a800-4x8-1nic` (1 NIC a
 * node), `h100-2x8-8nic-200g` (8 NICs of 200 Gb/s), in any case. Throws `InputError` for a name that is not known.
 */
export function getCluster(given: string): Cluster {
  const name = given.toLowerCase();
  const rack = /^(gb[23]00)-nvl72$/u.exec(name)?.[1];
  const shape = rack === undefined ? name : `${rack}-1x72`;
  const [, familyName = '', nodesText, devicesText, nicsText, gigabits] = pattern.exec(shape) ?? [];
  const family = Object.hasOwn(families, familyName) ? families[familyName] : undefined;
  if (family === undefined) {
    throw new InputError(`"${name}" is not a known cluster`, {
      path: 'cluster',
      expected:
        `a cluster file, or one of ${names.join(', ')}, or any count like h100-16x8, a800-4x8-1nic or ` +
        'h100-2x8-8nic-200g',
      hint: alike(name),
    });
  }
  const [nodes, devices] = [Number(nodesText), Number(devicesText)];
  if (nodes < 1 || nodes > mostNodes) throw wrong(`"${name}" has ${nodes} nodes`, `1 to ${mostNodes} nodes`);
  if (devices < 1 || devices > family.domain) {
    throw wrong(`"${name}" has ${devices} devices a node`, `1 to ${family.domain} ${family.device.name} a node`);
  }
  if ((nicsText ?? gigabits) !== undefined && nodes === 1)
    throw wrong(`"${name}" is one node, NICs do nothing in it`, `${familyName}-1x${devices}`);
  const nics = nicsText === undefined ? family.nics(devices) : Number(nicsText);
  if (nics < 1 || nics > devices) throw wrong(`"${name}" has ${nics} NICs a node`, `1 to ${devices}, one per device`);
  if (gigabits === undefined) return build({ name, family, nodes, devices, nics });
  if (Number(gigabits) === 0) throw wrong(`"${name}" has NICs of 0 Gb/s`, 'a speed like 200g');
  const outer = { ...family.outer, bytesPerSecond: Number(gigabits) * gigabit };
  const sources = [...family.sources, `NICs of ${gigabits} Gb/s: the name`];
  return build({ name, family: { ...family, outer, sources }, nodes, devices, nics });
}

/** A known cluster of one node with so many of them; undefined for another name, and where no family goes on. */
export function presetOfNodes(name: string, nodes: number): Cluster | undefined {
  const [, family = '', own, devices] = pattern.exec(name) ?? [];
  return own === '1' && Object.hasOwn(families, family) ? getCluster(`${family}-${nodes}x${devices}`) : undefined;
}

/**
 * A hint at a slip of the keyboard: the same family in capitals or with letters swapped, or a known family with a slip
 * behind it. Another GPU is no slip: v100 is not a100.
 */
function alike(name: string): string | undefined {
  const lower = name.toLowerCase();
  const [family = '', ...rest] = lower.split('-');
  const sorted = (text: string): string => text.split('').sort().join('');
  const known = Object.keys(families).find((one) => sorted(one) === sorted(family));
  if (known === undefined) return undefined;
  const fixed = [known, ...rest].join('-');
  return fixed !== name && pattern.test(fixed)
    ? `did you mean ${fixed}?`
    : didYouMean(
        fixed,
        names.filter((one) => one.startsWith(`${known}-`)),
      );
}

function wrong(message: string, expected: string): InputError {
  return new InputError(message, { path: 'cluster', expected });
}

/** The clusters that are listed to people, by name. */
export const clusterPresets: ReadonlyMap<string, Cluster> = new Map(names.map((name) => [name, getCluster(name)]));
