/** Where a description of a node's wiring and a device or cluster that somebody names do not go together. */
import { appendAll, formatBandwidth, formatInteger, maxOf } from '../../units/index.js';
import type { Cluster, Device } from '../cluster.js';
import { families } from '../families.js';
import { pcieBytesPerSecond } from './pci-ids.js';
import { deviceFamilyIn } from './read-topology.js';
import { linkBytesPerSecond, trainingNics, type Topology } from './topology.js';

/** Compute capability times ten of NVIDIA's families (CUDA C++ programming guide, "Compute Capabilities"). */
const capabilities: Readonly<Record<string, number>> = {
  a100: 80,
  a800: 80,
  h100: 90,
  h800: 90,
  h200: 90,
  h20: 90,
  b200: 100,
  gb200: 100,
  b300: 103,
  gb300: 103,
};

/** Figures that differ by less are roundings. */
const alikeShare = 0.02;
const unlike = (a: number, b: number): boolean => Math.abs(a / b - 1) > alikeShare;

/** The family that a device belongs to, by its name. */
const familyOf = (device: Device): string | undefined =>
  Object.keys(families).find((name) => families[name]?.device.name === device.name) ?? deviceFamilyIn(device.name);

/** What the file says of its GPUs and a device does not have, in sentences. */
export function deviceContradictions(topology: Topology, device: Device): string[] {
  const asked = familyOf(device);
  const said = [...new Set(topology.gpus.flatMap(({ model }) => (model === undefined ? [] : [model])))];
  const others = said.filter((model) => (deviceFamilyIn(model) ?? asked) !== asked || foreign(model));
  const wanted = asked === undefined ? undefined : capabilities[asked];
  const has = topology.gpus.find(({ capability }) => capability !== undefined && capability !== wanted)?.capability;
  const byNvidia = topology.form === 'nvidia-smi topo -m' && wanted === undefined;
  return [
    ...(others.length === 0
      ? []
      : [`${topology.where} says that the GPUs are ${others.join(' and ')}, not ${device.name}.`]),
    ...(wanted === undefined || has === undefined
      ? []
      : [`${topology.where} says sm="${has}"; ${device.name} is sm="${wanted}".`]),
    ...(byNvidia ? [`${topology.where} is of nvidia-smi; ${device.name} is no GPU of NVIDIA.`] : []),
  ];
}

/** Cards for a PCIe slot: their figures are not those of the family's modules. */
const foreign = (model: string): boolean => /\bPCIE\b|\bPCIe\b/u.test(model);

/** What the file says of NVLink, where a device of the family has `wanted` bytes/s of it in one direction. */
export function linkContradictions(topology: Topology, family: string, wanted: number): string[] {
  const { nvlinks, where } = topology;
  if (nvlinks.kind === 'unsaid' || !Object.hasOwn(capabilities, family)) return [];
  const links =
    nvlinks.kind === 'switched'
      ? nvlinks.links
      : nvlinks.kind === 'none'
        ? 0
        : maxOf(nvlinks.between.map((row) => row.reduce((sum, one) => sum + one, 0)));
  const rate = linkBytesPerSecond(family);
  if (topology.gpus.length === 1 || !unlike(links * rate, wanted)) return [];
  return [
    links === 0
      ? `${where} says that no NVLink joins the GPUs; ${family} has ${formatBandwidth(wanted)} of it a GPU.`
      : `${where} says ${formatInteger(links)} links of NVLink a GPU, ${formatBandwidth(links * rate)}; ` +
        `${family} has ${formatBandwidth(wanted)}.`,
  ];
}

/** Network cards that the file gives more than their PCIe slot carries, or than such a card sends. */
export function nicContradictions({ nics, where }: Topology): string[] {
  const found = new Map<string, string[]>();
  for (const { name, model, bytesPerSecond = 0, speedGround, slotBytesPerSecond, cardBytesPerSecond } of nics) {
    const most = Math.min(slotBytesPerSecond ?? Infinity, cardBytesPerSecond ?? Infinity);
    if (speedGround !== 'given' || bytesPerSecond <= most * (1 + alikeShare)) continue;
    const what =
      most === slotBytesPerSecond ? 'its PCIe slot carries' : `such a card (${model ?? 'by its PCI id'}) sends`;
    const text = `${what}: ${formatBandwidth(bytesPerSecond)} against ${formatBandwidth(most)}. The former is taken.`;
    found.set(text, [...(found.get(text) ?? []), name]);
  }
  return [...found].map(([text, [first = '', ...others]]) => {
    const whose = others.length === 0 ? first : `${first} and ${others.length} others`;
    return `${where} gives ${whose} more than ${text}`;
  });
}

/** All that a node's wiring says and a cluster of such nodes has not, in sentences. */
export function topologyContradictions(topology: Topology, cluster: Cluster): string[] {
  const { device, tiers } = cluster;
  const [inner, outer] = tiers;
  const { where, gpus } = topology;
  const said = deviceContradictions(topology, device);
  const family = familyOf(device);
  if (inner !== undefined && gpus.length > inner.size)
    said.push(`${where} has ${gpus.length} GPUs in a node; ${cluster.name} has ${inner.size}.`);
  else if (inner !== undefined && inner.size % gpus.length !== 0)
    said.push(`${where} has ${gpus.length} GPUs in a node, of which ${inner.size} of ${cluster.name} are no multiple.`);
  if (inner !== undefined && family !== undefined && inner.bytesPerSecond !== pcieBytesPerSecond)
    // one port for every peer, and one that nobody has
    appendAll(said, linkContradictions(topology, family, inner.bytesPerSecond * Math.max(1, inner.ports - 1)));
  const nics = trainingNics(topology);
  if (outer === undefined || inner === undefined || nics.length === 0) return said;
  const ofUnit = (outer.ports * gpus.length) / inner.size;
  if (Math.min(nics.length, gpus.length) !== ofUnit)
    said.push(
      `${where} has ${nics.length} NICs beside ${gpus.length} GPUs; ${cluster.name} has ${outer.ports} beside ` +
        `${inner.size}.`,
    );
  const total = nics.reduce((sum, nic) => sum + (topology.nics[nic]?.bytesPerSecond ?? Number.NaN), 0);
  const given = topology.nics.every((nic, at) => !nics.includes(at) || nic.speedGround === 'given');
  if (given && unlike(total, outer.bytesPerSecond * ofUnit))
    said.push(
      `${where} has ${formatBandwidth(total)} out of ${gpus.length} GPUs; ${cluster.name} has ` +
        `${formatBandwidth(outer.bytesPerSecond * ofUnit)}.`,
    );
  return said;
}
