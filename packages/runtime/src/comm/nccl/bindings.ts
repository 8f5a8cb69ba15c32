/**
 * NCCL, as NVIDIA's NCCL API names calls and parameters. Communicators do not block: a call may go on after it has
 * returned.
 */
import koffi from 'koffi';
import {
  bindCalls,
  CudaError,
  openLibrary,
  textOfCode,
  written,
  writtenInt,
  type Address,
  type Calls,
  type LibraryName,
  type NativeLibrary,
} from '../../device/cuda/bindings/index.js';

const ncclName: LibraryName = { title: 'NCCL', files: ['libnccl.so.2', 'libnccl.so'] };

export const identityBytes = 128;

const calls = {
  ncclGetVersion: ['host'],
  ncclGetUniqueId: ['host'],
  ncclCommGetAsyncError: ['address', 'host'],
  ncclCommFinalize: ['address'],
  ncclCommDestroy: ['address'],
  ncclCommAbort: ['address'],
  ncclGroupStart: [],
  ncclGroupEnd: [],
  // send buffer, elements, type, peer, communicator, stream
  ncclSend: ['address', 'size', 'int', 'int', 'address', 'address'],
  ncclRecv: ['address', 'size', 'int', 'int', 'address', 'address'],
  // send and receive buffers, elements …
  ncclAlltoAll: ['address', 'address', 'size', 'int', 'address', 'address'],
  ncclAllGather: ['address', 'address', 'size', 'int', 'address', 'address'],
  ncclBroadcast: ['address', 'address', 'size', 'int', 'int', 'address', 'address'],
  ncclAllReduce: ['address', 'address', 'size', 'int', 'int', 'address', 'address'],
  ncclReduceScatter: ['address', 'address', 'size', 'int', 'int', 'address', 'address'],
  // … type, reduction, root, communicator, stream
  ncclReduce: ['address', 'address', 'size', 'int', 'int', 'int', 'address', 'address'],
} as const;

/** Values of NCCL's enums. */
export const nccl = {
  inProgress: 7,
  types: { u8: 1, i32: 2, f16: 6, f32: 7, bf16: 9 },
  reductions: { sum: 0, max: 2 },
} as const;

/** ncclConfig_t as of 2.18.5, which later libraries read too; what is left open is INT_MIN or null. */
const config = { bytes: 48, magic: 0xcafebeef, version: 21805, open: -(2 ** 31) } as const;

export interface CommunicatorSettings {
  /** Multiprocessors that a collective takes at most; NCCL's choice unless given. */
  readonly maximumMultiprocessors?: number;
}

export interface NcclLibrary extends Calls<typeof calls> {
  /** 22809 is 2.28.9. */
  version(): number;
  /** What the members of a communicator join it by. */
  uniqueId(): Uint8Array;
  /** Begins to make a communicator: it is made once `settled`. */
  join(place: { rank: number; size: number }, identity: Uint8Array, settings: CommunicatorSettings): Address;
  /** Whether all that was asked of a communicator has been taken. Throws `CudaError` when it failed. */
  settled(communicator: Address): boolean;
}

/** The struct of 128 bytes that travels by value. */
let identityType: string | undefined;

function identityName(): string {
  if (identityType === undefined) {
    koffi.struct('ncclUniqueId', { internal: koffi.array('uint8_t', identityBytes) });
    identityType = 'ncclUniqueId';
  }
  return identityType;
}

function configBytes({ maximumMultiprocessors = config.open }: CommunicatorSettings): Buffer {
  const bytes = Buffer.alloc(config.bytes);
  bytes.writeBigUInt64LE(BigInt(config.bytes), 0);
  bytes.writeUInt32LE(config.magic, 8);
  bytes.writeUInt32LE(config.version, 12);
  const blocking = 0;
  const [clusterSize, fewest] = [config.open, config.open];
  [blocking, clusterSize, fewest, maximumMultiprocessors].forEach((value, index) =>
    bytes.writeInt32LE(value, 16 + 4 * index),
  );
  // The name of a network, null, lies before it.
  const splitShare = config.open;
  bytes.writeInt32LE(splitShare, 40);
  return bytes;
}

function bindNccl(library: NativeLibrary, rank?: number): NcclLibrary {
  const name = textOfCode(library, 'ncclGetErrorString');
  const lastError = library.func('const char *ncclGetLastError(void *)');
  const text = (code: number): string => {
    const more = (lastError(null) as string | null)?.trim() ?? '';
    return more === '' ? name(code) : `${name(code)}: ${more}`;
  };
  const passes = (code: number): boolean => code === nccl.inProgress;
  let version: number | undefined;
  const bound = bindCalls(library, calls, { rank, text, passes });
  const init = library.func(`int ncclCommInitRankConfig(_Out_ uint64_t *, int, ${identityName()}, int, const void *)`);
  return {
    ...bound,
    version: () => (version ??= writtenInt((cell) => bound.ncclGetVersion(cell))),
    uniqueId: () => {
      const identity = new Uint8Array(identityBytes);
      bound.ncclGetUniqueId(identity);
      return identity;
    },
    join: (place, identity, settings) =>
      written((cell) => {
        const code = init(cell, place.size, { internal: identity }, place.rank, configBytes(settings)) as number;
        if (code !== 0 && !passes(code)) throw new CudaError('ncclCommInitRankConfig', code, text(code), rank);
      }),
    settled: (communicator) => {
      const code = writtenInt((cell) => bound.ncclCommGetAsyncError(communicator, cell));
      if (code !== 0 && code !== nccl.inProgress) throw new CudaError('NCCL', code, text(code), rank);
      return code === 0;
    },
  };
}

/** NCCL of this machine. Throws `InputError` that lists where it was looked for. */
export function loadNccl(rank?: number): NcclLibrary {
  return bindNccl(openLibrary(ncclName), rank);
}
