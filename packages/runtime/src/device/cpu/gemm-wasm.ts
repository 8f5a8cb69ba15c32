/**
 * Matrix product by WebAssembly SIMD kernels that are written at run time. An element's bits depend only on its row of
 * op(A), its column of op(B), alpha, beta and k: not on m, n, its place, or the storage order, so that chunked and
 * unchunked products agree.
 *
 * Inside, one of op(A), op(B) plays X (its values are spread over lanes) and the other Y (read 8 at a time); see
 * `wasm/gemm-kernels.ts`. The roles are chosen so that as little as possible has to be packed first.
 */
import type { Gemm, GemmCall } from '../gemm.js';
import { checkGemm } from './gemm-check.js';
import type { CheckedGemm } from './gemm-check.js';
import { stageGemm } from './gemm-stage.js';
import { scratch } from './memory.js';
import type { CpuMemory } from './memory.js';
import { compilePackKernels, compileTileKernel, tileX, tileY } from './wasm/gemm-kernels.js';
import type { PackKernels, TileKernel, TileVariant } from './wasm/gemm-kernels.js';

const floatBytes = 4;
/**
 * Block sizes: a Y panel (KC x 8) stays in the first-level cache, an X block (MC x KC) in the second even when its rows
 * are a large power of two apart and share few cache sets (which is why 32 beat 96 when measured on AMD Zen 5).
 */
const blockK = 256;
const blockX = 32;
const blockY = 1024;
/**
 * With up to so many X values, Y is read where it is: packing would cost more than it saves. Rows of k far apart fall
 * on many pages and few cache sets, so that packing pays sooner. Measured.
 */
const directLimit = { near: 16, far: 4, nearStrideBytes: 2048 };

const packedY = scratch.gemm.byteOffset;
const packedX = packedY + blockK * blockY * floatBytes;
const edgeArea = packedX + blockK * blockX * floatBytes;
/** Rows of the edge area that hold a whole Y block. */
const edgeStride = blockY * floatBytes;
const stageArea = edgeArea + Math.max(tileX * edgeStride, blockX * tileY * floatBytes);

/** Size of the blocks that k is cut into: as equal as possible, whole unrolled steps; depends on nothing but k. */
function kBlockSize(k: number): number {
  const blocks = Math.max(1, Math.ceil(k / blockK));
  return Math.ceil(k / blocks / 4) * 4;
}

/**
 * One operand as the driver sees it: `count` is its extent beside k, `contiguous` says which index runs along memory.
 */
interface Operand {
  readonly address: number;
  readonly stride: number;
  readonly count: number;
  readonly contiguous: 'k' | 'unit';
}

export interface WasmGemmOptions {
  /** Called between blocks, about every millisecond of a long product, so that communication can progress. */
  readonly onTile?: () => void;
}

/** A GEMM over one rank's memory; arrays outside it work too, by copying. One thread at a time per memory. */
export function createWasmGemm(memory: CpuMemory, options: WasmGemmOptions = {}): Gemm {
  const driver = new WasmGemmDriver(memory.memory, options.onTile);
  const stage = { byteOffset: stageArea, bytes: scratch.gemm.byteOffset + scratch.gemm.bytes - stageArea };
  const multiply = (call: GemmCall): void => {
    const checked = checkGemm(call);
    if (checked.m === 0 || checked.n === 0) return;
    if (memory.contains(call.a) && memory.contains(call.b) && memory.contains(call.c)) {
      driver.multiply(checked, call);
    } else {
      stageGemm({
        memory,
        stage,
        call,
        size: checked,
        blockK: kBlockSize(checked.k),
        multiply: (inner) => driver.multiply(checkGemm(inner), inner),
      });
    }
  };
  return Object.defineProperty(multiply, 'name', { value: 'wasm' });
}

class WasmGemmDriver {
  readonly #pack: PackKernels;
  readonly #tiles = new Map<number, TileKernel>();

  constructor(
    private readonly memory: WebAssembly.Memory,
    private readonly onTile: (() => void) | undefined,
  ) {
    this.#pack = compilePackKernels(memory);
  }

  multiply(size: CheckedGemm, call: GemmCall): void {
    const { m, n, k, alpha, beta } = size;
    if (k === 0) {
      if (beta === 0) clear(call.c, m, n, size.ldc);
      return;
    }
    const a: Operand = {
      address: call.a.byteOffset,
      stride: size.lda * floatBytes,
      count: m,
      contiguous: size.transposeA ? 'unit' : 'k',
    };
    const b: Operand = {
      address: call.b.byteOffset,
      stride: size.ldb * floatBytes,
      count: n,
      contiguous: size.transposeB ? 'k' : 'unit',
    };
    const swapped = prefersSwap(a, b);
    const x = swapped ? b : a;
    const y = swapped ? a : b;
    const strideC = size.ldc * floatBytes;
    const target: Target = { address: call.c.byteOffset, stride: strideC, transposed: swapped, alpha };
    const step = kBlockSize(k);
    for (let y0 = 0; y0 < y.count; y0 += blockY) {
      const countY = Math.min(blockY, y.count - y0);
      for (let k0 = 0; k0 < k; k0 += step) {
        const kc = Math.min(step, k - k0);
        const block = this.#prepareY(part(y, y0, countY, k0), kc, x.count);
        const accumulate = beta === 1 || k0 > 0 ? 1 : 0;
        for (let x0 = 0; x0 < x.count; x0 += blockX) {
          const countX = Math.min(blockX, x.count - x0);
          this.#multiplyBlock({ x: part(x, x0, countX, k0), y: block, kc, target: corner(target, x0, y0), accumulate });
          this.onTile?.();
        }
      }
    }
  }

  /** Packs what has to be packed of a Y block: nothing if few X values use it, but always the ragged last panel. */
  #prepareY(y: Operand, kc: number, countX: number): BlockY {
    const pack = this.#pack;
    const panels = Math.floor(y.count / tileY);
    const edge = y.count % tileY;
    const panelBytes = kc * tileY * floatBytes;
    const limit = y.stride <= directLimit.nearStrideBytes ? directLimit.near : directLimit.far;
    const direct = y.contiguous === 'unit' && countX <= limit;
    if (panels > 0 && !direct) {
      if (y.contiguous === 'unit') pack.straight8(y.address, y.stride, packedY, kc, panels);
      else pack.across8(y.address, y.stride, packedY, kc, panels);
    }
    const edgeAddress = packedY + panels * panelBytes;
    if (edge > 0) {
      const from = part(y, panels * tileY, edge, 0);
      const [unitStride, kStride] = y.contiguous === 'unit' ? [floatBytes, y.stride] : [y.stride, floatBytes];
      pack.edge(from.address, unitStride, kStride, edgeAddress, edge, kc, tileY);
    }
    return direct
      ? {
          form: 'direct',
          address: y.address,
          stride: y.stride,
          panelStride: tileY * floatBytes,
          panels,
          edge,
          edgeAddress,
        }
      : { form: 'packed', address: packedY, stride: 0, panelStride: panelBytes, panels, edge, edgeAddress };
  }

  #multiplyBlock({
    x,
    y,
    kc,
    target,
    accumulate,
  }: {
    readonly x: Operand;
    readonly y: BlockY;
    readonly kc: number;
    readonly target: Target;
    readonly accumulate: number;
  }): void {
    const tiles = Math.floor(x.count / tileX);
    const rest = x.count % tileX;
    const form = x.contiguous === 'k' ? 'rows' : 'packed';
    let { address } = x;
    let tileStride = tileX * x.stride;
    if (form === 'packed') {
      address = packedX;
      tileStride = kc * tileX * floatBytes;
      if (tiles > 0) this.#pack.straight4(x.address, x.stride, packedX, kc, tiles);
      if (rest > 0) {
        const from = x.address + tiles * tileX * floatBytes;
        this.#pack.edge(from, floatBytes, x.stride, packedX + tiles * tileStride, rest, kc, tileX);
      }
    }
    if (tiles > 0)
      this.#multiplyTiles({
        form,
        height: tileX,
        address,
        strideX: x.stride,
        tiles,
        tileStride,
        y,
        kc,
        target,
        accumulate,
      });
    if (rest > 0) {
      const corner0 = corner(target, tiles * tileX, 0);
      this.#multiplyTiles({
        form,
        height: rest,
        address: address + tiles * tileStride,
        strideX: x.stride,
        tiles: 1,
        tileStride,
        y,
        kc,
        target: corner0,
        accumulate,
      });
    }
  }

  /** Tiles of one height against the whole Y block. Ragged results go through the edge area. */
  #multiplyTiles({
    form,
    height,
    address,
    strideX,
    tiles,
    tileStride,
    y,
    kc,
    target,
    accumulate,
  }: {
    readonly form: TileVariant['x'];
    readonly height: number;
    readonly address: number;
    readonly strideX: number;
    readonly tiles: number;
    readonly tileStride: number;
    readonly y: BlockY;
    readonly kc: number;
    readonly target: Target;
    readonly accumulate: number;
  }): void {
    const { alpha } = target;
    const countX = tiles * height;
    const strideInX = target.transposed ? floatBytes : target.stride;
    const strideInY = target.transposed ? target.stride : floatBytes;
    if (y.panels > 0) {
      const { panels, stride, panelStride } = y;
      if (!target.transposed || height === tileX) {
        const kernel = this.#kernel(form, y.form, target.transposed, height);
        // prettier-ignore
        kernel(address, y.address, target.address, tiles, panels, kc, strideX, tileStride, stride, panelStride,
          target.stride, accumulate, alpha);
      } else {
        const kernel = this.#kernel(form, y.form, false, height);
        // prettier-ignore
        kernel(address, y.address, edgeArea, tiles, panels, kc, strideX, tileStride, stride, panelStride,
          edgeStride, 0, alpha);
        this.#pack.merge(
          edgeArea,
          edgeStride,
          target.address,
          strideInX,
          strideInY,
          countX,
          panels * tileY,
          accumulate,
        );
      }
    }
    if (y.edge > 0) {
      const kernel = this.#kernel(form, 'packed', false, height);
      const rowBytes = tileY * floatBytes;
      kernel(address, y.edgeAddress, edgeArea, tiles, 1, kc, strideX, tileStride, 0, 0, rowBytes, 0, alpha);
      const to = corner(target, 0, y.panels * tileY).address;
      this.#pack.merge(edgeArea, rowBytes, to, strideInX, strideInY, countX, y.edge, accumulate);
    }
  }

  /** Kernels are compiled when first needed. */
  #kernel(x: TileVariant['x'], y: TileVariant['y'], transposed: boolean, height: number): TileKernel {
    const key = height * 8 + (x === 'rows' ? 4 : 0) + (y === 'direct' ? 2 : 0) + (transposed ? 1 : 0);
    let kernel = this.#tiles.get(key);
    if (kernel === undefined) {
      kernel = compileTileKernel(this.memory, { x, y, store: transposed ? 'transposed' : 'plain', height });
      this.#tiles.set(key, kernel);
    }
    return kernel;
  }
}

interface BlockY {
  readonly form: TileVariant['y'];
  readonly address: number;
  readonly stride: number;
  readonly panelStride: number;
  /** Full panels, and the width of the ragged one after them (always packed, at edgeAddress). */
  readonly panels: number;
  readonly edge: number;
  readonly edgeAddress: number;
}

/** A place in C; `transposed`: C's rows run along Y. */
interface Target {
  readonly address: number;
  readonly stride: number;
  readonly transposed: boolean;
  readonly alpha: number;
}

function corner(target: Target, x: number, y: number): Target {
  const [row, column] = target.transposed ? [y, x] : [x, y];
  return { ...target, address: target.address + row * target.stride + column * floatBytes };
}

function part(operand: Operand, first: number, count: number, k: number): Operand {
  const [row, column] = operand.contiguous === 'k' ? [first, k] : [k, first];
  return { ...operand, count, address: operand.address + row * operand.stride + column * floatBytes };
}

/**
 * Whether B should play X. An X with contiguous k, and a Y with contiguous units, are read without transposing; where
 * either choice has to rearrange one operand, it should be the smaller.
 */
function prefersSwap(a: Operand, b: Operand): boolean {
  if (a.contiguous === 'k') return b.contiguous === 'k' && b.count > a.count;
  return b.contiguous === 'k' || b.count < a.count;
}

function clear(c: Float32Array, m: number, n: number, ldc: number): void {
  for (let row = 0; row < m; row++) c.fill(0, row * ldc, row * ldc + n);
}
