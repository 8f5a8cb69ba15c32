/** A cluster out of the wiring of one node: what the file says, and what has to be taken from elsewhere. */
import { InputError } from '../../units/errors.js';
import { formatBandwidth } from '../../units/index.js';
import { limits } from '../../units/limits.js';
import type { Cluster, Device, Tier } from '../cluster.js';
import { families, type Family } from '../families.js';
import { deviceFamilyIn } from './read-topology.js';
import { deviceContradictions, linkContradictions, nicContradictions } from './contradictions.js';
import { nvLinkDomain, type NvLinkDomain } from './nvlink-domain.js';
import { pcieBytesPerSecond } from './pci-ids.js';
import {
  linkBytesPerSecond,
  linksBetween,
  nearestNics,
  trainingNics,
  type Ground,
  type NvLinks,
  type Topology,
  type TopologyNic,
} from './topology.js';

export interface TierGround {
  readonly tier: string;
  /** Whether a measurement or the file says it, or it is guessed. */
  readonly ground: Ground;
  /** Why, in a few words. */
  readonly because: string;
}

export interface TopologyCluster {
  readonly cluster: Cluster;
  readonly grounds: readonly TierGround[];
  /** What the model of a cluster leaves out of the file, in sentences. */
  readonly notes: readonly string[];
}

export interface TopologyClusterOptions {
  /** Nodes of this kind; 1 when left out. */
  readonly nodes?: number;
  /** Family of the GPU as in the names of clusters (`h100`), where the file does not say it. */
  readonly gpu?: string;
  /** GPUs that one NVLink domain joins, where it joins several trays: a file describes one. */
  readonly domain?: number;
}

/**
 * The cluster of `nodes` nodes that a topology describes. Devices, latencies and the share of a rate that is reached
 * are those of the GPU's family. Throws `InputError` where the GPU is not known.
 */
export function topologyCluster(
  topology: Topology,
  { nodes = 1, gpu, domain: asked }: TopologyClusterOptions = {},
): TopologyCluster {
  const { where } = topology;
  if (nodes > limits.ranks / topology.gpus.length)
    throw new InputError(`${nodes} nodes of ${topology.gpus.length} GPUs`, {
      path: 'nodes',
      expected: `at most ${limits.ranks} GPUs`,
    });
  const [name, family] = familyOf(topology, gpu);
  const device = gpu === undefined ? deviceOf(topology, family.device) : family.device;
  const contradictions = [
    ...deviceContradictions(topology, device),
    ...linkContradictions(topology, name, family.inner.bytesPerSecond),
  ];
  const notes = [...contradictions.map((one) => `${one} ${device.name} is taken.`), ...nicContradictions(topology)];
  const domain = nvLinkDomain(topology, family, { trays: nodes, asked });
  if (domain?.ground === 'guessed') notes.push(domainNote(topology, family, domain));
  const [tray, ...others] = innerTiers({ topology, family, name, notes });
  const inner = [...(tray === undefined ? [] : [joined(tray, domain)]), ...others];
  const units = domain ?? { count: nodes, trays: 1 };
  const outer = units.count === 1 ? undefined : outerTier({ topology, family, units, notes });
  const tiers = [...inner, ...(outer === undefined ? [] : [outer])];
  const grounds = tiers.map(({ tier, ground, because }) => ({ tier: tier.name, ground, because }));
  const said = topology.gpus.some(({ model }) => model !== undefined) && gpu === undefined;
  const cluster = {
    name: fileName(where),
    device,
    tiers: tiers.map(({ tier }) => tier),
    sources: [
      `${topology.form} of ${topology.hosts === 1 ? 'one node' : `${topology.hosts} hosts`}: ${where}`,
      `device: ${device.name}, ${said ? 'as the file says' : 'as was asked for'}; its figures as of ${name}-1x8`,
      ...contradictions,
      ...grounds.map((one) => `${one.tier}: ${one.ground}: ${one.because}`),
      'latencies, shares that are reached, and rails: those of the family, as its presets cite them',
    ],
  };
  return { cluster, grounds, notes };
}

/** What was read and what is guessed where a tray's file does not say how far NVLink reaches. */
const domainNote = (
  { gpus, nvlinks, where }: Topology,
  { domain, device }: Family,
  { count, gpus: taken }: NvLinkDomain,
): string =>
  `${where} shows ${gpus.length} GPUs` +
  (nvlinks.kind === 'switched' ? ` with ${nvlinks.links} links each into switches` : '') +
  `; NVLink of ${device.name} joins up to ${domain} over several trays, and a tray does not know how many. ` +
  `Taken, as a guess: ${count === 1 ? 'one domain' : `${count} domains`} of ${taken} GPUs. ` +
  '--nvlink-domain says it, --nodes counts trays.';

/** NVLink of a tray as one of several trays of a domain. */
const joined = ({ tier, ground, because }: GroundedTier, domain: NvLinkDomain | undefined): GroundedTier =>
  domain === undefined
    ? { tier, ground, because }
    : {
        tier: { ...tier, size: domain.gpus },
        ground: domain.ground === 'guessed' ? 'guessed' : ground,
        because:
          `${because}; that it joins ${domain.gpus} GPUs over ${domain.trays} ` +
          `${domain.trays === 1 ? 'tray' : 'trays'} is ${domain.ground}`,
      };

interface GroundedTier {
  readonly tier: Tier;
  readonly ground: Ground;
  readonly because: string;
}

/** The file's name without folders and ending. */
function fileName(where: string): string {
  const bare = (where.split(/[/\\]/u).at(-1) ?? where).replace(/\.[a-z]+$/iu, '');
  return bare === '' ? 'topology' : bare;
}

function familyOf(topology: Topology, asked: string | undefined): readonly [string, Family] {
  const models = [...new Set(topology.gpus.flatMap(({ model }) => (model === undefined ? [] : [model])))];
  const name = asked?.toLowerCase() ?? deviceFamilyIn(models.join(' '));
  const family = name !== undefined && Object.hasOwn(families, name) ? families[name] : undefined;
  if (name !== undefined && family !== undefined) return [name, family];
  const known = Object.keys(families).filter((one) => one !== 'laptop');
  const expected = `--gpu with one of ${known.join(', ')}`;
  if (asked !== undefined) throw new InputError(`"${asked}" is no known GPU`, { path: '--gpu', expected });
  throw new InputError(
    models.length === 0
      ? 'does not say which GPU it is'
      : `holds ${models.join(' and ')}, ` +
          (models.length === 1 ? 'which no preset has' : 'and a cluster has one kind of GPU'),
    {
      file: topology.where,
      expected,
      hint: `monta cluster ${topology.where} --gpu h100 --nodes 2 --yaml writes a cluster file to edit`,
    },
  );
}

/** A100 of 40 GB: the same chip with half the memory (NVIDIA A100 40GB SXM datasheet: 1,555 GB/s; 40,960 MiB). */
const smallAmpere = { name: 'A100-SXM4-40GB', memoryBytes: 40_960 * 2 ** 20, memoryBytesPerSecond: 1555e9 };

const deviceOf = (topology: Topology, device: Device): Device =>
  topology.gpus.some(({ model = '' }) => /\bA100\b.*\b40GB/u.test(model.replaceAll('-', ' ')))
    ? { ...device, ...smallAmpere }
    : device;

/** A node's wiring, and whose figures stand for what the file does not say. */
interface InnerRequest {
  readonly topology: Topology;
  readonly family: Family;
  readonly name: string;
  readonly notes: string[];
}

/** GPUs that NVLink joins, directly or through others: equal runs of several, of which there are several. */
function islandsOf(links: NvLinks): number[][] | undefined {
  if (links.kind !== 'pairs') return undefined;
  const islands: number[][] = [];
  for (const gpu of links.between.keys()) {
    if (islands.some((island) => island.includes(gpu))) continue;
    const island = [gpu];
    for (const one of island)
      for (const [other, count] of (links.between[one] ?? []).entries())
        if (count > 0 && !island.includes(other)) island.push(other);
    islands.push(island.sort((a, b) => a - b));
  }
  const [first = []] = islands;
  const size = first.length;
  const runs = islands.every((island, place) => island.every((gpu, at) => gpu === place * size + at));
  return islands.length > 1 && size > 1 && runs ? islands : undefined;
}

/** NVLink, or PCIe; where NVLink joins parts of the node, both. */
function innerTiers(request: InnerRequest): GroundedTier[] {
  const { topology, family } = request;
  const islands = islandsOf(topology.nvlinks);
  const [first] = islands ?? [];
  if (islands === undefined || first === undefined || topology.nvlinks.kind !== 'pairs') return [innerTier(request)];
  const { between } = topology.nvlinks;
  const nvlinks = linksBetween(first.map((a) => first.map((b) => between[a]?.[b] ?? 0)));
  const gpus = first.flatMap((gpu) => topology.gpus[gpu] ?? []);
  const { reducingBytesPerSecond: _, ...base } = family.inner;
  const pcie: Tier = {
    ...base,
    name: 'pcie',
    size: islands.length,
    ports: first.length,
    bytesPerSecond: pcieBytesPerSecond,
    railAligned: false,
    crossRailSlowdown: 1,
  };
  return [
    innerTier({ ...request, topology: { ...topology, gpus, nvlinks } }),
    {
      tier: pcie,
      ground: 'guessed',
      because: `NVLink joins ${first.length} GPUs each: PCIe 4.0 x16 between them, the file says no speed`,
    },
  ];
}

function innerTier({ topology, family, name, notes }: InnerRequest): GroundedTier {
  const size = topology.gpus.length;
  const base = { ...family.inner, size, ports: family.links ?? 1, railAligned: false, crossRailSlowdown: 1 };
  const rate = linkBytesPerSecond(name);
  const of = `of ${formatBandwidth(rate)}`;
  const links: NvLinks = topology.nvlinks;
  switch (links.kind) {
    case 'switched':
      return {
        tier: { ...base, ports: 1, bytesPerSecond: links.links * rate },
        ground: 'given',
        because: `${links.links} links ${of} from every GPU into a switch`,
      };
    case 'pairs':
      return pairedTier({ between: links.between, base, rate, notes });
    case 'none': {
      const { reducingBytesPerSecond: _, ...pcie } = base;
      return {
        tier: { ...pcie, name: 'pcie', ports: 1, bytesPerSecond: pcieBytesPerSecond },
        ground: 'guessed',
        because: 'no NVLink between the GPUs: PCIe 4.0 x16, the file says no speed',
      };
    }
    case 'unsaid':
      return {
        tier: base,
        ground: 'guessed',
        because: `the file does not speak of NVLink: that of the ${name} datasheet`,
      };
  }
}

/** Links between pairs: equal ones are ports of their own; unequal ones are taken as if a switch joined all. */
function pairedTier({
  between,
  base,
  rate,
  notes,
}: {
  readonly between: readonly (readonly number[])[];
  readonly base: Tier;
  readonly rate: number;
  readonly notes: string[];
}): GroundedTier {
  const { reducingBytesPerSecond: _, ...tier } = base;
  const counts = between.flatMap((row, a) => row.filter((_one, b) => a !== b));
  const [first = 0] = counts;
  if (first > 0 && counts.every((one) => one === first)) {
    const peers = between.length - 1;
    return {
      tier: { ...tier, ports: peers === 1 ? 1 : between.length, bytesPerSecond: first * rate },
      ground: 'given',
      because: `${first} links of ${formatBandwidth(rate)} between every two GPUs`,
    };
  }
  const least = between.map((row) => row.reduce((sum, one) => sum + one, 0)).reduce((a, b) => Math.min(a, b), Infinity);
  if (least === 0) {
    notes.push('Some GPUs have no NVLink at all: the node is taken as joined by PCIe.');
    return {
      tier: { ...tier, name: 'pcie', ports: 1, bytesPerSecond: pcieBytesPerSecond },
      ground: 'guessed',
      because: 'some GPUs have no NVLink: PCIe 4.0 x16, the file says no speed',
    };
  }
  notes.push(
    "NVLink joins some pairs by more links than others: all of a GPU's links are taken as if a switch joined them, " +
      'which pairs without a link of their own do not reach.',
  );
  return {
    tier: { ...tier, ports: 1, bytesPerSecond: least * rate },
    ground: 'guessed',
    because: `${least} links of ${formatBandwidth(rate)} from every GPU, not the same to all`,
  };
}

function outerTier({
  topology,
  family,
  units,
  notes,
}: {
  readonly topology: Topology;
  readonly family: Family;
  /** What the tier joins, and how many trays, as the file describes one, are in each. */
  readonly units: { readonly count: number; readonly trays: number };
  readonly notes: string[];
}): GroundedTier {
  const used = trainingNics(topology);
  const gpus = topology.gpus.length;
  const [first] = used;
  const nic: TopologyNic | undefined = first === undefined ? undefined : topology.nics[first];
  const network = { ...family.outer, name: 'network', size: units.count };
  if (nic === undefined)
    return {
      tier: { ...network, ports: units.trays * family.nics(gpus) },
      ground: 'guessed',
      because: 'the file lists no NIC: as many and as fast as the presets of the family have',
    };
  if (used.length < topology.nics.length) {
    const left = topology.nics.filter((_, index) => !used.includes(index)).map((one) => one.name);
    notes.push(`Left out as no NICs for training, since others are nearer to GPUs or faster: ${left.join(', ')}.`);
  }
  const ports = Math.min(used.length, gpus);
  const each = nic.bytesPerSecond ?? family.outer.bytesPerSecond;
  // More NICs than GPUs: each GPU has the joint bandwidth of several.
  const tier = { ...network, ports: units.trays * ports, bytesPerSecond: (each * used.length) / ports };
  if (!nearIsOwn({ topology, used, ports }))
    notes.push(
      'The NIC next to a GPU is not the one that equal runs of GPUs would share, which is how it is modelled.',
    );
  const count = `${used.length} NIC${used.length === 1 ? '' : 's'}`;
  const speed = formatBandwidth(each);
  const why = {
    given: `${speed} each, as the file says`,
    card: `${speed} each, what such a card (${nic.model ?? ''}) sends`,
    slot: `${speed} each, the most that their PCIe slots carry`,
  };
  return nic.speedGround === undefined
    ? {
        tier,
        ground: 'guessed',
        because: `${count}, of which the file says no speed: ${speed} as the family's presets`,
      }
    : { tier, ground: nic.speedGround === 'given' ? 'given' : 'guessed', because: `${count}, ${why[nic.speedGround]}` };
}

/** Whether GPU g of n finds among its nearest NICs the one that equal runs give it: number floor(g * ports / n). */
function nearIsOwn({
  topology,
  used,
  ports,
}: {
  readonly topology: Topology;
  readonly used: readonly number[];
  readonly ports: number;
}): boolean {
  const own = topology.gpus.map((_, gpu) => nearestNics(topology, gpu).filter((nic) => used.includes(nic)));
  // NICs in the order of the first GPU that is next to them.
  const order = [...used].sort((a, b) => firstNear(own, a) - firstNear(own, b));
  const perPort = used.length / ports;
  return own.every((near, gpu) => {
    const port = Math.floor((gpu * ports) / topology.gpus.length);
    return order.slice(Math.floor(port * perPort), Math.ceil((port + 1) * perPort)).some((nic) => near.includes(nic));
  });
}

const firstNear = (own: readonly (readonly number[])[], nic: number): number => {
  const found = own.findIndex((near) => near.includes(nic));
  return found < 0 ? own.length : found;
};
