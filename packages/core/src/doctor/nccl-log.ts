/** What NCCL's own log (NCCL_DEBUG=INFO) says of the way that bytes take. */

/** A line that is evidence. */
export interface LogLine {
  /** 1-based. */
  readonly line: number;
  readonly text: string;
}

export interface NcclLog {
  readonly version: string | undefined;
  /** Connections by the way that they take, like `P2P/CUMEM`, `SHM/direct`, `NET/IB/GDRDMA`, `NET/Socket`. */
  readonly connections: ReadonlyMap<string, number>;
  /** NICs that the first rank uses, in order. */
  readonly nics: readonly string[];
  /** `IB`, `RoCE` or `Socket`. */
  readonly network: string | undefined;
  readonly channels: { readonly collective: number; readonly p2p: number; readonly perPeer: number } | undefined;
  /** NCCL's variables that were set, by name. */
  readonly variables: ReadonlyMap<string, string>;
  /** Whether it speaks of GPUDirect RDMA as on or off. */
  readonly directRdma: boolean | undefined;
  readonly warnings: readonly LogLine[];
}

/** Whether a text is such a log. */
export const looksNcclLog = (text: string): boolean => /\bNCCL (?:INFO|WARN|version)\b/u.test(text);

const connection = /\bvia ((?:P2P|SHM|NET|direct|COLLNET)[\w/]*)/u;
/** `Channel 00/0 : 3[3] -> 8[0] [send] via NET/IB/2(3)/GDRDMA`: the number of the NIC is no part of the kind. */
const kindOfPath = (path: string): string =>
  path
    .split('/')
    .filter((part) => !/^\d+(\(\d+\))?$/u.test(part))
    .join('/');

const used = /NET\/(IB|Socket)\s*:\s*Using\s+(.*)$/u;
const device = /\[\d+\]([\w.-]+?)(?::\d+\/(IB|RoCE))?(?:[:</][^\s]*)?(?=\s|$)/gu;
const channels = /(\d+) coll channels,.*?(\d+) p2p channels, (\d+) p2p channels per peer/u;
const variable = /\b(NCCL_[A-Z0-9_]+) set (?:by environment )?to ([^\s]+?)\.?$/u;

/** Reads a log of one or many ranks, in one pass. Lines that say nothing of the network are passed over. */
export function readNcclLog(text: string): NcclLog {
  let version: string | undefined;
  let network: string | undefined;
  let nics: string[] = [];
  let found: NcclLog['channels'];
  let directRdma: boolean | undefined;
  const connections = new Map<string, number>();
  const variables = new Map<string, string>();
  const warnings: LogLine[] = [];
  text.split('\n').forEach((raw, index) => {
    const row = raw.trimEnd();
    version ??= /NCCL version ([\d.]+)/u.exec(row)?.[1];
    const path = connection.exec(row.replace(/\((\d+)\)/gu, ''))?.[1];
    if (path !== undefined) {
      const kind = kindOfPath(path);
      connections.set(kind, (connections.get(kind) ?? 0) + 1);
    }
    const using = used.exec(row);
    if (using !== null && nics.length === 0) {
      const [, kind = '', list = ''] = using;
      const devices = [...(list.split(';')[0] ?? '').matchAll(device)];
      nics = devices.map(([, name = '']) => name);
      network = kind === 'Socket' ? 'Socket' : (devices[0]?.[2] ?? 'IB');
    }
    const counts = channels.exec(row);
    if (counts !== null && found === undefined)
      found = { collective: Number(counts[1]), p2p: Number(counts[2]), perPeer: Number(counts[3]) };
    const set = variable.exec(row);
    if (set?.[1] !== undefined && set[2] !== undefined) variables.set(set[1], set[2]);
    if (/GPU ?Direct RDMA (?:Enabled|enabled)/u.test(row)) directRdma ??= true;
    if (/GPU ?Direct RDMA (?:Disabled|disabled)/u.test(row)) directRdma = false;
    if (/\bNCCL WARN\b/u.test(row) && warnings.length < mostWarnings)
      warnings.push({ line: index + 1, text: row.replace(/^.*NCCL WARN\s*/u, '') });
  });
  return { version, network, nics, channels: found, variables, directRdma, connections, warnings };
}

/** The first say what all say. */
const mostWarnings = 20;
