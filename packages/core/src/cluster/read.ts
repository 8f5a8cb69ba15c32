/** Cluster files: YAML or JSON to `Cluster` and back. */
import { Document, isMap, isSeq } from 'yaml';
import { readDocument } from '../units/documents/index.js';
import type { Field } from '../units/documents/index.js';
import { limits } from '../units/limits.js';
import {
  parseBandwidth,
  parseBytes,
  parseFlops,
  parseSeconds,
  writeBandwidth,
  writeBytes,
  writeFlops,
  writeSeconds,
} from '../units/quantities.js';
import type { Cluster, Device, Tier } from './cluster.js';

const clusterKeys = ['name', 'device', 'tiers', 'sources'];
const deviceKeys = ['name', 'memory', 'bf16', 'f32', 'fp8', 'memoryBandwidth', 'multiprocessors'];
const tierKeys = [
  'name',
  'size',
  'bandwidth',
  'reached',
  'reducing',
  'latency',
  'ports',
  'railAligned',
  'crossRailSlowdown',
];

const mostSlowdown = 1e6;

/** Reads a cluster file. `fileName` is for messages and for `sources`. Throws `InputError` that says where and what. */
export function readCluster(text: string, fileName: string): Cluster {
  return clusterFrom(readDocument(text, fileName), fileName);
}

/**
 * A cluster from a part of a document. Ports default to one per device: 1 at tier 0, above that the number of devices
 * in a unit of the level below. Throws `InputError`.
 */
export function clusterFrom(field: Field, fileName: string): Cluster {
  const map = field.map(clusterKeys);
  const name = map.need('name', 'a name for the cluster').string();
  const device = deviceFrom(map.need('device', 'what one device is: { name, memory, bf16, memoryBandwidth }'));
  const tiers: Tier[] = [];
  let devices = 1;
  const list = map.need('tiers', 'a list of network tiers, from the inside out').list(1, limits.tiers);
  for (const item of list) {
    const tier = tierFrom(item, devices);
    if (tiers.some((other) => other.name === tier.name)) {
      throw item.error(`two tiers are called "${tier.name}"`, { expected: 'a name of its own for every tier' });
    }
    tiers.push(tier);
    devices *= tier.size;
    if (devices > limits.ranks) {
      throw item.error(`${devices} devices up to this tier`, {
        expected: `at most ${limits.ranks}`,
        hint: 'size counts the units of the tier before, not devices',
      });
    }
  }
  const sources = map
    .get('sources')
    ?.list()
    .map((source) => source.string()) ?? [`file ${fileName}`];
  return { name, device, tiers, sources };
}

function deviceFrom(field: Field): Device {
  const map = field.map(deviceKeys);
  const [f32, fp8] = [map.get('f32')?.quantity(parseFlops), map.get('fp8')?.quantity(parseFlops)];
  const multiprocessors = map.get('multiprocessors')?.integer({ min: 1, max: limits.multiprocessors });
  return {
    name: map.need('name', 'a name for the device').string(),
    memoryBytes: map.need('memory', 'memory of one device, like 80 GiB').quantity(parseBytes),
    flopsPerSecond: {
      bf16: map.need('bf16', 'dense bf16 peak of one device, like 312 TFLOPS').quantity(parseFlops),
      ...(f32 === undefined ? {} : { f32 }),
      ...(fp8 === undefined ? {} : { fp8 }),
    },
    memoryBytesPerSecond: map.need('memoryBandwidth', 'memory bandwidth, like 2.04 TB/s').quantity(parseBandwidth),
    ...(multiprocessors === undefined ? {} : { multiprocessors }),
  };
}

function tierFrom(field: Field, devicesBelow: number): Tier {
  const map = field.map(tierKeys);
  const portsField = map.get('ports');
  const ports = portsField?.integer({ min: 1, max: Math.max(devicesBelow, limits.ports) }) ?? devicesBelow;
  // Tier 0 has one device below and may stripe over several links; above, a port beyond one per device would stay idle.
  if (devicesBelow > 1 && ports > devicesBelow) {
    throw (portsField ?? field).error(`${ports} ports for ${devicesBelow} devices`, {
      expected: `at most ${devicesBelow}, one per device`,
      hint: 'for several ports per device, give one port their joint bandwidth',
    });
  }
  const slowdownField = map.get('crossRailSlowdown');
  const railAligned = map.get('railAligned')?.boolean() ?? false;
  const crossRailSlowdown = slowdownField?.number({ min: 1, max: mostSlowdown }) ?? 1;
  if (slowdownField !== undefined && crossRailSlowdown > 1 && !railAligned) {
    throw slowdownField.error('a cross-rail slowdown without rails', { expected: 'railAligned: true beside it' });
  }
  const reached = map.get('reached')?.number({ above: 0, max: 1 });
  const reducingField = map.get('reducing');
  if (reducingField !== undefined && devicesBelow > 1)
    throw reducingField.error('a switch between nodes that reduces', {
      expected: 'reducing on the innermost tier only',
    });
  const reducing = reducingField?.quantity(parseBandwidth);
  return {
    name: map.need('name', 'a name for the tier, like nvlink').string(),
    size: map.need('size', 'how many units of the level below this tier joins').integer({ min: 1, max: limits.ranks }),
    bytesPerSecond: map.need('bandwidth', 'bandwidth of one port and direction, like 25 GB/s').quantity(parseBandwidth),
    ...(reached === undefined ? {} : { reached }),
    ...(reducing === undefined ? {} : { reducingBytesPerSecond: reducing }),
    latencySeconds: map.need('latency', 'one-way latency, like 3 us').quantity(parseSeconds, false),
    ports,
    railAligned,
    crossRailSlowdown,
  };
}

/** The cluster as a YAML file that `readCluster` reads back to an equal cluster. */
export function toYaml(cluster: Cluster): string {
  const { device } = cluster;
  let devicesBelow = 1;
  const tiers = cluster.tiers.map((tier) => {
    const ports = tier.ports === devicesBelow ? {} : { ports: tier.ports };
    devicesBelow *= tier.size;
    return {
      name: tier.name,
      size: tier.size,
      bandwidth: writeBandwidth(tier.bytesPerSecond),
      ...(tier.reached === undefined ? {} : { reached: tier.reached }),
      ...(tier.reducingBytesPerSecond === undefined ? {} : { reducing: writeBandwidth(tier.reducingBytesPerSecond) }),
      latency: writeSeconds(tier.latencySeconds),
      ...ports,
      ...(tier.railAligned ? { railAligned: true } : {}),
      ...(tier.crossRailSlowdown === 1 ? {} : { crossRailSlowdown: tier.crossRailSlowdown }),
    };
  });
  const { bf16, f32, fp8 } = device.flopsPerSecond;
  const document = new Document({
    name: cluster.name,
    device: {
      name: device.name,
      memory: writeBytes(device.memoryBytes),
      bf16: writeFlops(bf16),
      ...(f32 === undefined ? {} : { f32: writeFlops(f32) }),
      ...(fp8 === undefined ? {} : { fp8: writeFlops(fp8) }),
      memoryBandwidth: writeBandwidth(device.memoryBytesPerSecond),
      ...(device.multiprocessors === undefined ? {} : { multiprocessors: device.multiprocessors }),
    },
    tiers,
    sources: [...cluster.sources],
  });
  const deviceNode = document.get('device');
  if (isMap(deviceNode)) deviceNode.flow = true;
  const tierNodes = document.get('tiers');
  if (isSeq(tierNodes)) for (const node of tierNodes.items) if (isMap(node)) node.flow = true;
  return document.toString({ lineWidth: 0 });
}
