/** Topologies of a node in their three forms. */
import { loadCluster, loadTopology } from '#cli/inputs.js';
import type { Target } from './targets.js';

const matrix = `GPU 0: NVIDIA H100 80GB HBM3
\tGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity
GPU0\t X \tNV18\tPIX\tSYS\t0-47\t0
GPU1\tNV18\t X \tSYS\tPIX\t48-95\t1
NIC0\tPIX\tSYS\t X \tSYS
NIC1\tSYS\tPIX\tSYS\t X

NIC Legend:

  NIC0: mlx5_0
  NIC1: mlx5_1
`;

const gpu = (bus: string, rank: number, peer: string): string => `
    <pci busid="0000:${bus}:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">
      <pci busid="0000:${bus}:01.0" class="0x030200" vendor="0x10de" device="0x2330">
        <gpu dev="${rank}" sm="90" rank="${rank}" gdr="1"><nvlink target="0000:${peer}:01.0" count="18"/></gpu>
      </pci>
      <pci busid="0000:${bus}:02.0" class="0x020700" vendor="0x15b3" device="0x1021">
        <nic><net name="mlx5_${rank}" dev="${rank}" speed="400000" port="1"/></nic>
      </pci>
    </pci>`;
const nccl = `<system version="1">
  <cpu numaid="0" host_hash="0x1">${gpu('10', 0, '20')}${gpu('20', 1, '10')}
  </cpu>
</system>
`;

const hwloc = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
  <object type="Machine" os_index="0"><object type="Package" os_index="0"><object type="NUMANode" os_index="0"/>
    <object type="Bridge" bridge_type="0-1">
      <object type="Bridge" bridge_type="1-1" pci_busid="0000:00:01.0">
        <object type="PCIDev" pci_busid="0000:10:1b.0" pci_type="0200 [1d0f:efa1] [1d0f:efa1] 00" pci_link_speed="31.5">
          <object type="OSDev" name="rdmap16s27" subtype="OpenFabrics" osdev_type="3"/>
        </object>
        <object type="PCIDev" pci_busid="0000:10:1c.0" pci_type="0302 [10de:2330] [10de:16c1] a1"/>
      </object>
    </object>
  </object></object>
</topology>
`;

/** One target for each form. Reading is finding the wiring and making a cluster of it. */
export function topologyTargets(file: (name: string, text: string) => string): Target[] {
  const read = (path: string): void => {
    loadTopology(path);
    loadCluster(path);
  };
  return [
    { name: 'topology matrix', sample: file('topo.txt', matrix), read },
    { name: 'NCCL topology', sample: file('nccl-topo.xml', nccl), read },
    { name: 'hwloc topology', sample: file('hwloc.xml', hwloc), read },
  ];
}
