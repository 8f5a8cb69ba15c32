/** hwloc's XML (`lstopo machine.xml`), as AWS ships it: Machine > Package > Bridge > PCIDev > OSDev. */
import { InputError } from '../../units/errors.js';
import { gpuOfPci, kindOfClass, nicOfPci, nicOfSlot } from './pci-ids.js';
import { proximityOf, type Joint } from './pci-tree.js';
import type { Topology, TopologyNic } from './topology.js';
import { elementsOf, type XmlElement } from './xml-tree.js';

const typeOf = ({ attributes }: XmlElement): string => attributes['type'] ?? '';

function jointOf(element: XmlElement): Joint | undefined {
  switch (typeOf(element)) {
    case 'Bridge':
      return element.attributes['bridge_type'] === '0-1' ? 'host-bridge' : 'bridge';
    case 'Package':
    case 'Group':
      return 'numa-node';
    case 'Machine':
      return 'machine';
    default:
      return undefined;
  }
}

const infoOf = (element: XmlElement, name: string): string | undefined =>
  element.children.find((one) => one.name === 'info' && one.attributes['name'] === name)?.attributes['value'];

/** `0302 [10de:2330] [10de:16c1] a1`: class, vendor and device, those of the board, revision. */
const pciType = /^([0-9a-f]{4}) \[([0-9a-f]{4}):([0-9a-f]{4})\]/iu;

function numaOf(element: XmlElement): { numa?: number } {
  for (let at = element.parent; at !== undefined; at = at.parent) {
    const node = at.children.find((one) => typeOf(one) === 'NUMANode');
    const numa = Number(node?.attributes['os_index'] ?? Number.NaN);
    if (Number.isInteger(numa) && numa >= 0) return { numa };
  }
  return {};
}

const isRdma = (device: XmlElement): boolean =>
  device.children.some((one) => typeOf(one) === 'OSDev' && one.attributes['subtype'] === 'OpenFabrics') ||
  device.children.some((one) => typeOf(one) === 'OSDev' && one.attributes['osdev_type'] === openFabrics);
/** `HWLOC_OBJ_OSDEV_OPENFABRICS` of hwloc 2. */
const openFabrics = '3';

interface PciDevice {
  readonly element: XmlElement;
  readonly vendor: string;
  readonly device: string;
  readonly kind: 'gpu' | 'nic';
}

function devicesOf(root: XmlElement): PciDevice[] {
  const devices: PciDevice[] = [];
  for (const element of elementsOf(root)) {
    if (typeOf(element) !== 'PCIDev') continue;
    const [, code = '', vendor = '', device = ''] = pciType.exec(element.attributes['pci_type'] ?? '') ?? [];
    const kind = kindOfClass(code);
    // Boards have a display of their own for remote consoles; accelerators are NVIDIA's, or of class 0302.
    if (kind === 'gpu' && vendor.toLowerCase() !== '10de' && !code.startsWith('0302')) continue;
    if (kind !== undefined) devices.push({ element, vendor, device, kind });
  }
  return devices;
}

function nicFrom({ element, vendor, device }: PciDevice): TopologyNic {
  const card = nicOfPci(vendor, device);
  // hwloc says what the slot carries in GB/s.
  const slot = nicOfSlot(Number(element.attributes['pci_link_speed'] ?? 0) * 1e9);
  const model = card?.model ?? infoOf(element, 'PCIDevice');
  const rdma = element.children.find((one) => one.attributes['subtype'] === 'OpenFabrics');
  return {
    name: rdma?.attributes['name'] ?? element.attributes['pci_busid'] ?? 'nic',
    ...(model === undefined ? {} : { model }),
    ...(card !== undefined
      ? { bytesPerSecond: card.bytesPerSecond, speedGround: 'card' as const }
      : slot !== undefined
        ? { bytesPerSecond: slot, speedGround: 'slot' as const }
        : {}),
    ...numaOf(element),
  };
}

/** The topology of a document whose outermost element is `topology`. Throws `InputError` where it holds no GPU. */
export function hwlocTopology(root: XmlElement, where: string): Topology {
  const devices = devicesOf(root);
  const gpus = devices.filter(({ kind }) => kind === 'gpu');
  if (gpus.length === 0)
    throw new InputError('holds no GPU', {
      file: where,
      line: root.line,
      expected: 'PCIDev objects of class 0302',
      hint: 'lstopo --whole-io machine.xml keeps all devices',
    });
  const all = devices.filter(({ kind }) => kind === 'nic');
  // Where RDMA is seen, cards without it (the host's own Ethernet) carry no training traffic.
  const rdma = all.filter(({ element }) => isRdma(element));
  const nics = rdma.length > 0 ? rdma : all;
  return {
    form: 'hwloc XML',
    where,
    hosts: 1,
    gpus: gpus.map(({ element, vendor, device }) => {
      const model = gpuOfPci(vendor, device) ?? infoOf(element, 'PCIDevice');
      return {
        name: element.attributes['pci_busid'] ?? 'gpu',
        ...(model === undefined ? {} : { model }),
        ...numaOf(element),
      };
    }),
    nics: nics.map(nicFrom),
    proximity: gpus.map((gpu) => nics.map((nic) => proximityOf(gpu.element, nic.element, jointOf))),
    nvlinks: { kind: 'unsaid' },
  };
}
