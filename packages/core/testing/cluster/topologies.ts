/** Descriptions of a node's wiring, as programs write them. */
import type { Proximity } from '#core/cluster/topology/topology.js';
import { InputError } from '#core/units/errors.js';

export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** The output of `nvidia-smi topo -m`, with the driver's underlined header. */
export function matrix({
  gpus,
  nics,
  link,
  proximity,
}: {
  readonly gpus: number;
  readonly nics: number;
  readonly link: (a: number, b: number) => string;
  readonly proximity: (gpu: number, nic: number) => Proximity;
}): string {
  const names = [...range(gpus).map((i) => `GPU${i}`), ...range(nics).map((i) => `NIC${i}`)];
  const cell = (a: number, b: number): string => {
    if (a === b) return ' X ';
    if (a < gpus && b < gpus) return link(a, b);
    if (a < gpus) return proximity(a, b - gpus);
    return b < gpus ? proximity(b, a - gpus) : 'SYS';
  };
  const rows = names.map((name, a) => {
    const affinity = a < gpus ? ['0-47,96-143', '0', 'N/A'] : [];
    return [name, ...names.map((_, b) => cell(a, b)), ...affinity].join('\t');
  });
  return [
    `\t\u001B[4m${names.join('\t')}\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\u001B[0m`,
    ...rows,
    '',
    'Legend:',
    '',
    '  X    = Self',
    '  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)',
    '  NV#  = Connection traversing a bonded set of # NVLinks',
    '',
    'NIC Legend:',
    '',
    ...range(nics).map((i) => `  NIC${i}: mlx5_${i}`),
    '',
  ].join('\n');
}

/** PCI trees as clouds ship them: `switches` switches, each with GPUs and NICs, half of them under each processor. */
export function pciTree({
  switches,
  gpus,
  nics,
  speed,
  ids = '',
}: {
  readonly switches: number;
  readonly gpus: number;
  readonly nics: number;
  readonly speed: string;
  readonly ids?: string;
}): string {
  const slot = `link_speed="${speed}" link_width="16"`;
  const under = (numa: number): string[] =>
    range(switches / 2)
      .map((one) => one + (numa * switches) / 2)
      .flatMap((one) => [
        `<pci busid="ffff:ff:0${one}.0" class="0x060400" ${slot}>`,
        ...range(gpus).map((i) => `<pci busid="000${one}:0${i}:00.0" class="0x030200" ${ids} ${slot}/>`),
        ...range(nics).map((i) => `<pci busid="010${one}:0${i}:00.0" class="0x020700" ${slot}/> <!-- NIC -->`),
        '</pci>',
      ]);
  const cpu = (numa: number): string[] => [`<cpu numaid="${numa}" arch="x86_64">`, ...under(numa), '</cpu>'];
  return ['<!-- a cloud -->', '<system version="1">', ...cpu(0), ...cpu(1), '</system>'].join('\n');
}

/** A whole dump of a host: GPUs behind NVSwitch, each on a switch of its own with NICs of the given speed, Mb/s. */
export function dumpOfHost({
  host,
  gpus,
  nics,
  megabits,
  firstRank = 0,
  device = '0x2335',
  sm = 90,
}: {
  readonly host: number;
  readonly gpus: number;
  readonly nics: number;
  readonly megabits: number;
  readonly firstRank?: number;
  readonly device?: string;
  readonly sm?: number;
}): string {
  // The bus knows the GPUs backwards.
  const devices = range(gpus).map((i) => {
    const gpu = gpus - 1 - i;
    const net = (n: number): string =>
      `<net name="mlx5_${gpu * nics + n}" dev="0" speed="${megabits}" port="1" latency="0.0" gdr="1"/>`;
    return `
      <pci busid="${host}:${gpu}0:00.0" class="0x060400" vendor="0x1000" device="0xc030">
        <pci busid="${host}:${gpu}1:00.0" class="0x030200" vendor="0x10de" device="${device}">
          <gpu dev="${gpu}" sm="${sm}" rank="${firstRank + gpu}" gdr="1">
            <nvlink target="0000:07:00.0" count="10" tclass="0x068000"/>
            <nvlink target="0000:06:00.0" count="8" tclass="0x068000"/>
          </gpu>
        </pci>
        <pci busid="${host}:${gpu}2:00.0" class="0x020000" vendor="0x15b3" device="0x1021">
          <nic>${range(nics).map(net).join('')}</nic>
        </pci>
      </pci>`;
  });
  return `<cpu host_hash="0x${host}" numaid="0">${devices.join('')}</cpu>`;
}

const hwlocDevice = (bus: string, type: string, inside = ''): string =>
  `<object type="PCIDev" pci_busid="${bus}" pci_type="${type} a1" pci_link_speed="31.507692">${inside}</object>`;
const rdma = (name: string): string =>
  `<object type="OSDev" name="${name}" subtype="OpenFabrics" osdev_type="3"><info name="Port" value="4"/></object>`;

/** Two packages, each with host bridges that hold two A100 of 40 GB and an EFA, and the host's own Ethernet. */
export function hwloc(): string {
  const bridge = (bus: string): string => `
    <object type="Bridge" bridge_type="0-1" depth="0">
      ${hwlocDevice(`0000:${bus}:1b.0`, '0200 [1d0f:efa0] [1d0f:efa0]', rdma(`rdmap${bus}s27`))}
      ${hwlocDevice(`0000:${bus}:1c.0`, '0302 [10de:20b0] [10de:134f]')}
      ${hwlocDevice(`0000:${bus}:1d.0`, '0302 [10de:20b0] [10de:134f]')}
      ${hwlocDevice(`0000:${bus}:1e.0`, '0108 [1d0f:cd01] [1d0f:0000]')}
    </object>`;
  const pack = (numa: number, buses: readonly string[]): string => `
    <object type="Package" os_index="${numa}">
      <object type="NUMANode" os_index="${numa}" local_memory="1"><page_type size="4096" count="1"/></object>
      ${buses.map(bridge).join('')}
    </object>`;
  const ethernet = hwlocDevice('0000:00:05.0', '0200 [1d0f:ec20] [1d0f:ec20]', '<object type="OSDev" osdev_type="2"/>');
  return `<?xml version="1.0" encoding="UTF-8"?>
    <!DOCTYPE topology SYSTEM "hwloc2.dtd">
    <topology version="2.0"><object type="Machine" os_index="0"><info name="DMIProductName" value="a"/>
    ${pack(0, ['10', '20'])}${pack(1, ['90', 'a0'])}
    <object type="Bridge" bridge_type="0-1">${ethernet}</object></object></topology>`;
}

/** The complaint of a call that has to complain. */
export const thrown = (run: () => unknown): InputError => {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};
