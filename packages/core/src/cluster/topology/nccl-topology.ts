/**
 * NCCL's topology XML: whole dumps (NCCL_TOPO_DUMP_FILE), and the files that clouds ship for NCCL_TOPO_FILE, of which
 * some hold nothing but the PCI tree: system > cpu > pci > gpu > nvlink, and nic > net.
 */
import { InputError } from '../../units/errors.js';
import { gpuOfPci, kindOfClass, nicOfPci, nicOfSlot, slotBytesPerSecond } from './pci-ids.js';
import { proximityOf, type Joint } from './pci-tree.js';
import type { NvLinks, Topology, TopologyGpu, TopologyNic } from './topology.js';
import { elementsOf, type XmlElement } from './xml-tree.js';

const jointOf = ({ name }: XmlElement): Joint | undefined =>
  name === 'pci' ? 'bridge' : name === 'cpu' ? 'host-bridge' : name === 'system' ? 'machine' : undefined;

function cpuOf(element: XmlElement): XmlElement | undefined {
  for (let at: XmlElement | undefined = element; at !== undefined; at = at.parent) if (at.name === 'cpu') return at;
  return undefined;
}

function numaOf(element: XmlElement): { numa?: number } {
  const numa = Number(cpuOf(element)?.attributes['numaid'] ?? Number.NaN);
  return Number.isInteger(numa) && numa >= 0 ? { numa } : {};
}

/** PCI address without leading differences in how it is written. */
const busOf = ({ attributes }: XmlElement): string => (attributes['busid'] ?? '').toLowerCase();

function gpuFrom(pci: XmlElement, gpu: XmlElement | undefined): TopologyGpu {
  const { vendor = '', device = '' } = pci.attributes;
  const model = gpuOfPci(vendor, device);
  const capability = Number(gpu?.attributes['sm'] ?? Number.NaN);
  return {
    name: busOf(pci),
    ...(model === undefined ? {} : { model }),
    ...(Number.isInteger(capability) ? { capability } : {}),
    ...numaOf(pci),
  };
}

const megabit = 1e6 / 8;

/** The NIC of a PCI device, and of its `net` where the file has one. */
function nicFrom(place: XmlElement, net: XmlElement | undefined): TopologyNic {
  const pci = place.name === 'pci' ? place : undefined;
  const { vendor = '', device = '', link_speed: speed = '', link_width: width = '' } = pci?.attributes ?? {};
  const card = nicOfPci(vendor, device);
  const carried = slotBytesPerSecond(speed, width);
  const slot = nicOfSlot(carried ?? 0);
  const given = Number(net?.attributes['speed'] ?? Number.NaN) * megabit;
  const found =
    given > 0
      ? {
          bytesPerSecond: given,
          speedGround: 'given' as const,
          ...(carried === undefined ? {} : { slotBytesPerSecond: carried }),
          ...(card === undefined ? {} : { cardBytesPerSecond: card.bytesPerSecond }),
        }
      : card !== undefined
        ? { bytesPerSecond: card.bytesPerSecond, speedGround: 'card' as const }
        : slot !== undefined
          ? { bytesPerSecond: slot, speedGround: 'slot' as const }
          : {};
  return {
    name: net?.attributes['name'] ?? (pci === undefined ? 'nic' : busOf(pci)),
    ...(card === undefined ? {} : { model: card.model }),
    ...found,
    ...numaOf(place),
  };
}

/** PCI class of NVSwitch as a target of links. */
const switchClass = '0x0680';

function linksFrom(places: readonly XmlElement[], said: ReadonlyMap<XmlElement, XmlElement>): NvLinks {
  const links = places.map((place) => (said.get(place)?.children ?? []).filter(({ name }) => name === 'nvlink'));
  if (said.size === 0) return { kind: 'unsaid' };
  if (links.every((one) => one.length === 0)) return { kind: 'unsaid' };
  const indexOf = new Map(places.map((place, index) => [busOf(place), index]));
  const between = places.map(() => places.map(() => 0));
  const switched = places.map(() => 0);
  links.forEach((ofGpu, from) => {
    for (const link of ofGpu) {
      const { target = '', count = '1', tclass = '' } = link.attributes;
      const number = Math.trunc(Number(count));
      if (!(number >= 0 && number <= mostLinks)) continue;
      const to = indexOf.get(target.toLowerCase());
      // What goes to no GPU of the file goes to a switch, or around through the host's processor.
      if (to === undefined || to === from) {
        if (tclass.startsWith(switchClass) || target.startsWith('fffffff'))
          switched[from] = (switched[from] ?? 0) + number;
      } else {
        const row = between[from];
        if (row !== undefined) row[to] = (row[to] ?? 0) + number;
      }
    }
  });
  const most = switched.reduce((a, b) => Math.max(a, b), 0);
  if (most > 0) return { kind: 'switched', links: most };
  return between.flat().some((one) => one > 0) ? { kind: 'pairs', between } : { kind: 'none' };
}

/** Links of one GPU: 18 since Hopper. */
const mostLinks = 1024;

/** The topology of a document whose outermost element is `system`. Throws `InputError` where it holds no GPU. */
export function ncclTopology(root: XmlElement, where: string): Topology {
  const gpus: { readonly place: XmlElement; readonly gpu: XmlElement | undefined }[] = [];
  const nics: { readonly place: XmlElement; readonly net: XmlElement | undefined }[] = [];
  for (const element of elementsOf(root)) {
    if (element.name === 'net') nics.push({ place: placeOf(element), net: element });
    if (element.name !== 'pci') continue;
    const kind = kindOfClass(element.attributes['class'] ?? '');
    const gpu = element.children.find(({ name }) => name === 'gpu');
    if (gpu !== undefined || kind === 'gpu') gpus.push({ place: element, gpu });
    else if (kind === 'nic' && !element.children.some(({ name }) => name === 'nic'))
      nics.push({ place: element, net: undefined });
  }
  if (gpus.length === 0)
    throw new InputError('holds no GPU', {
      file: where,
      line: root.line,
      expected: 'pci elements of class 0x0302xx, or gpu elements in them',
      hint: 'NCCL_TOPO_DUMP_FILE=topo.xml in front of a job writes a whole one',
    });
  // NCCL numbers GPUs by `dev`; files of clouds stand in the order of the bus.
  const order = (gpu: XmlElement | undefined): number => Number(gpu?.attributes['rank'] ?? gpu?.attributes['dev'] ?? 0);
  if (gpus.every(({ gpu }) => gpu !== undefined)) gpus.sort((a, b) => order(a.gpu) - order(b.gpu));
  const places = gpus.map(({ place }) => place);
  const said = new Map(gpus.flatMap(({ place, gpu }) => (gpu === undefined ? [] : [[place, gpu] as const])));
  return {
    form: 'NCCL topology XML',
    where,
    hosts: new Set(places.map((place) => cpuOf(place)?.attributes['host_hash'] ?? '')).size,
    gpus: gpus.map(({ place, gpu }) => gpuFrom(place, gpu)),
    nics: nics.map(({ place, net }) => nicFrom(place, net)),
    proximity: places.map((gpu) => nics.map(({ place }) => proximityOf(gpu, place, jointOf))),
    nvlinks: linksFrom(places, said),
  };
}

/** The PCI device that holds a `net`, or what stands in its place where the file names none. */
function placeOf(net: XmlElement): XmlElement {
  const nic = net.parent ?? net;
  return nic.parent?.name === 'pci' ? nic.parent : nic;
}
