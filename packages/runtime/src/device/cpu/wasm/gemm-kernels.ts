/**
 * The inner parts of the WebAssembly GEMM. A tile is the product of 4 values of an X operand (spread over vector lanes
 * one by one) and 8 of a Y operand (two vectors), summed over a block of k in order; 4x8 keeps 8 accumulators and their
 * inputs in 16 registers. Every element of every variant goes through the same multiplications and additions in the
 * same order, so its bits do not depend on which variant, which tile or which remainder computed it.
 */
import { FunctionBuilder, instantiate } from './emitter.js';
import type { Local, ValueType } from './emitter.js';

export const tileX = 4;
export const tileY = 8;
const floatBytes = 4;
const vectorBytes = 16;

/**
 * x: `rows` reads 4 rows with contiguous k, where they are; `packed` reads panels of [k][4].
 * y: `direct` reads rows of k with contiguous Y, where they are; `packed` reads panels of [k][8].
 * store: `plain` when C's rows run along X, `transposed` when they run along Y (only full tiles).
 */
export interface TileVariant {
  readonly x: 'rows' | 'packed';
  readonly y: 'direct' | 'packed';
  readonly store: 'plain' | 'transposed';
  /** X values of a tile, 1 to 4. */
  readonly height: number;
}

/**
 * Addresses and strides in bytes: (x, y, c, tiles, panels, kc, strideX between rows, tileStrideX, strideY between k,
 * panelStrideY, strideC between C's rows, accumulate 0 or 1, alpha). Every tile of the X block for every panel of the Y
 * block.
 */
export type TileKernel = (...values: number[]) => number;

export function compileTileKernel(memory: WebAssembly.Memory, variant: TileVariant): TileKernel {
  return instantiate(memory, ['tiles'], [buildTileKernel(variant)]).tiles;
}

function i32s(count: number): ValueType[] {
  return Array.from({ length: count }, () => 'i32');
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Of the kernel, in order. */
const [x, y, c, tiles, panels, kc] = [0, 1, 2, 3, 4, 5];
const [strideX, tileStrideX, strideY, panelStrideY, strideC, accumulate, alpha] = [6, 7, 8, 9, 10, 11, 12];

/** The function and its locals. */
function tileLocals({ x: formX, height }: TileVariant) {
  const f = new FunctionBuilder('tiles', [...i32s(12), 'f32']);
  const [tileAddress, tileC, tileCount, steps, row] = i32s(5).map((type) => f.local(type)) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const pointersX = range(formX === 'rows' ? height : 1).map(() => f.local('i32'));
  const pointerY = f.local('i32');
  const [zero, factor, low, high, spread] = range(5).map(() => f.local('v128')) as [Local, Local, Local, Local, Local];
  const sums = range(height).map(() => [f.local('v128'), f.local('v128')] as const);
  return { f, tileAddress, tileC, tileCount, steps, row, pointersX, pointerY, zero, factor, low, high, spread, sums };
}

type TileLocals = ReturnType<typeof tileLocals>;

/**
 * One step of k: all products of a tile. Not unrolled: V8 (11.3 at least) spills accumulators in longer bodies, which
 * costs a third of the speed.
 */
function multiplyStep({ f, pointersX, pointerY, low, high, spread, sums }: TileLocals, variant: TileVariant): void {
  f.get(pointerY).memory('v128.load').set(low).get(pointerY).memory('v128.load', vectorBytes).set(high);
  sums.forEach(([sumLow, sumHigh], index) => {
    if (variant.x === 'rows') f.get(pointersX[index] ?? 0).memory('v128.load32_splat');
    else f.get(pointersX[0] ?? 0).memory('v128.load32_splat', index * floatBytes);
    f.set(spread);
    f.get(sumLow).get(spread).get(low).op('f32x4.mul', 'f32x4.add').set(sumLow);
    f.get(sumHigh).get(spread).get(high).op('f32x4.mul', 'f32x4.add').set(sumHigh);
  });
  for (const pointer of pointersX) f.advance(pointer, floatBytes * (variant.x === 'rows' ? 1 : tileX));
  if (variant.y === 'packed') f.advance(pointerY, tileY * floatBytes);
  else f.advanceBy(pointerY, strideY);
}

/** C at `row` + offset = value, or += value; the value is on the stack by `push`. */
function storeVector({ f, row }: TileLocals, push: () => void, offset: number): void {
  f.when(
    accumulate,
    () => {
      f.get(row).get(row).memory('v128.load', offset);
      push();
      f.op('f32x4.add').memory('v128.store', offset);
    },
    () => {
      f.get(row);
      push();
      f.memory('v128.store', offset);
    },
  );
}

function storePlain(locals: TileLocals): void {
  const { f, row, factor, sums } = locals;
  sums.forEach(([sumLow, sumHigh], index) => {
    if (index > 0) f.advanceBy(row, strideC);
    storeVector(locals, () => f.get(sumLow).get(factor).op('f32x4.mul'), 0);
    storeVector(locals, () => f.get(sumHigh).get(factor).op('f32x4.mul'), vectorBytes);
  });
}

function storeTransposed(locals: TileLocals): void {
  const { f, row, factor, zero, low, high, spread, sums } = locals;
  for (const half of [0, 1]) {
    const columns = transpose4(
      f,
      sums.map((pair) => pair[half] ?? zero),
      [low, high, spread, zero],
    );
    columns.forEach((push, index) => {
      if (half + index > 0) f.advanceBy(row, strideC);
      const pushScaled = (): void => {
        push();
        f.get(factor).op('f32x4.mul');
      };
      storeVector(locals, pushScaled, 0);
    });
  }
}

/** Points at the first k of a tile's X rows and of the panel's Y, and clears the sums. */
function startTile({ f, tileAddress, pointersX, pointerY, sums }: TileLocals): void {
  pointersX.forEach((pointer, index) => {
    if (index === 0) f.get(tileAddress).set(pointer);
    else
      f.get(pointersX[index - 1] ?? x)
        .get(strideX)
        .op('i32.add')
        .set(pointer);
  });
  f.get(y).set(pointerY);
  for (const sum of sums.flat()) f.f32x4(0).set(sum);
}

function buildTileKernel(variant: TileVariant): FunctionBuilder {
  const locals = tileLocals(variant);
  const { f, tileAddress, tileC, tileCount, steps, row, factor } = locals;
  const { store, height } = variant;
  f.repeat(panels, () => {
    f.get(x).set(tileAddress).get(c).set(tileC).get(tiles).set(tileCount);
    f.repeat(tileCount, () => {
      startTile(locals);
      f.get(kc)
        .set(steps)
        .repeat(steps, () => multiplyStep(locals, variant));
      f.get(tileC).set(row).get(alpha).op('f32x4.splat').set(factor);
      if (store === 'plain') storePlain(locals);
      else storeTransposed(locals);
      f.advanceBy(tileAddress, tileStrideX);
      if (store === 'plain') f.get(strideC).i32(height).op('i32.mul').get(tileC).op('i32.add').set(tileC);
      else f.advance(tileC, tileX * floatBytes);
    });
    f.advanceBy(y, panelStrideY);
    if (store === 'plain') f.advance(c, tileY * floatBytes);
    else f.get(strideC).i32(tileY).op('i32.mul').get(c).op('i32.add').set(c);
  });
  return f;
}

/** Transposes 4 vectors of 4 lanes; each result is pushed by its function. Overwrites the 4 temporaries. */
function transpose4(
  f: FunctionBuilder,
  rows: readonly Local[],
  temporaries: readonly [Local, Local, Local, Local],
): (() => void)[] {
  const [r0 = 0, r1 = 0, r2 = 0, r3 = 0] = rows;
  const [t0, t1, t2, t3] = temporaries;
  f.get(r0).get(r1).shuffle32(0, 4, 1, 5).set(t0).get(r0).get(r1).shuffle32(2, 6, 3, 7).set(t1);
  f.get(r2).get(r3).shuffle32(0, 4, 1, 5).set(t2).get(r2).get(r3).shuffle32(2, 6, 3, 7).set(t3);
  return [
    () => f.get(t0).get(t2).shuffle32(0, 1, 4, 5),
    () => f.get(t0).get(t2).shuffle32(2, 3, 6, 7),
    () => f.get(t1).get(t3).shuffle32(0, 1, 4, 5),
    () => f.get(t1).get(t3).shuffle32(2, 3, 6, 7),
  ];
}

/**
 * Packing into panels, and C's ragged edges. Addresses and strides in bytes.
 * - straight4, straight8 (source, strideK, target, kc, panels): rows of k, contiguous across the panel;
 * - across8 (source, strideUnit, target, kc, panels): rows of the packed side, contiguous in k;
 * - edge (source, strideUnit, strideK, target, count, kc, width): one panel of which only `count` of `width` exist;
 * zeros fill up;
 * - merge (source, sourceStride, target, strideX, strideY, countX, countY, accumulate): copies or adds a plain tile
 * into C.
 */
export type PackKernels = ReturnType<typeof compilePackKernels>;

export function compilePackKernels(memory: WebAssembly.Memory) {
  const names = ['straight4', 'straight8', 'across8', 'edge', 'merge'] as const;
  return instantiate(memory, names, [
    buildStraight('straight4', tileX),
    buildStraight('straight8', tileY),
    buildAcross(),
    buildEdge(),
    buildMerge(),
  ]);
}

/** Four panels at a time while there are four, so that whole cache lines are read from each row. */
function buildStraight(name: string, width: number): FunctionBuilder {
  const f = new FunctionBuilder(name, i32s(5));
  const [source, strideK, target, kc, panels] = [0, 1, 2, 3, 4];
  const [from, to, steps, groups, panelBytes] = range(5).map(() => f.local('i32')) as [
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const others = range(3).map(() => f.local('i32'));
  const bytes = width * floatBytes;
  const copyPanels = (count: number): void => {
    f.get(source).set(from).get(target).set(to).get(kc).set(steps);
    const targets = [to, ...others.slice(0, count - 1)];
    targets.slice(1).forEach((local, index) => {
      f.get(targets[index] ?? to)
        .get(panelBytes)
        .op('i32.add')
        .set(local);
    });
    f.repeat(steps, () => {
      targets.forEach((local, panel) => {
        for (let offset = 0; offset < bytes; offset += vectorBytes) {
          f.get(local)
            .get(from)
            .memory('v128.load', panel * bytes + offset)
            .memory('v128.store', offset);
        }
        f.advance(local, bytes);
      });
      f.advanceBy(from, strideK);
    });
    f.advance(source, count * bytes);
    f.get(targets.at(-1) ?? to).set(target);
  };
  f.get(kc).i32(bytes).op('i32.mul').set(panelBytes);
  f.get(panels).i32(2).op('i32.shr_u').set(groups);
  f.repeat(groups, () => copyPanels(4));
  f.get(panels).i32(3).op('i32.and').set(groups);
  f.repeat(groups, () => copyPanels(1));
  return f;
}

function buildAcross(): FunctionBuilder {
  const f = new FunctionBuilder('across8', i32s(5));
  const [source, strideUnit, target, kc, panels] = [0, 1, 2, 3, 4];
  const [column, row, steps] = range(3).map(() => f.local('i32')) as [Local, Local, Local];
  const rows = range(4).map(() => f.local('v128'));
  const temporaries = range(4).map(() => f.local('v128')) as [Local, Local, Local, Local];
  const eachRow = (body: (unit: number) => void): void => {
    f.get(column).set(row);
    for (const unit of range(tileY)) {
      if (unit > 0) f.advanceBy(row, strideUnit);
      body(unit);
    }
  };
  f.repeat(panels, () => {
    f.get(source).set(column).get(kc).i32(2).op('i32.shr_u').set(steps);
    f.repeat(steps, () => {
      eachRow((unit) => {
        f.get(row)
          .memory('v128.load')
          .set(rows[unit % 4] ?? 0);
        if (unit % 4 !== 3) return;
        const half = unit === 3 ? 0 : vectorBytes;
        transpose4(f, rows, temporaries).forEach((push, k) => {
          f.get(target);
          push();
          f.memory('v128.store', k * tileY * floatBytes + half);
        });
      });
      f.advance(column, 4 * floatBytes).advance(target, 4 * tileY * floatBytes);
    });
    f.get(kc).i32(3).op('i32.and').set(steps);
    f.repeat(steps, () => {
      eachRow((unit) =>
        f
          .get(target)
          .get(row)
          .memory('f32.load')
          .memory('f32.store', unit * floatBytes),
      );
      f.advance(column, floatBytes).advance(target, tileY * floatBytes);
    });
    f.get(strideUnit).i32(tileY).op('i32.mul').get(source).op('i32.add').set(source);
  });
  return f;
}

function buildEdge(): FunctionBuilder {
  const f = new FunctionBuilder('edge', i32s(7));
  const [source, strideUnit, strideK, target, count, kc, width] = [0, 1, 2, 3, 4, 5, 6];
  const [from, units] = range(2).map(() => f.local('i32')) as [Local, Local];
  f.repeat(kc, () => {
    f.get(source).set(from).get(count).set(units);
    f.repeat(units, () => {
      f.get(target).get(from).memory('f32.load').memory('f32.store');
      f.advance(target, floatBytes).advanceBy(from, strideUnit);
    });
    f.get(width).get(count).op('i32.sub').set(units);
    f.repeat(units, () => f.get(target).f32(0).memory('f32.store').advance(target, floatBytes));
    f.advanceBy(source, strideK);
  });
  return f;
}

function buildMerge(): FunctionBuilder {
  const f = new FunctionBuilder('merge', i32s(8));
  const [source, sourceStride, target, strideX, strideY, countX, countY, accumulate] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [from, to, units] = range(3).map(() => f.local('i32')) as [Local, Local, Local];
  f.repeat(countX, () => {
    f.get(source).set(from).get(target).set(to).get(countY).set(units);
    f.repeat(units, () => {
      f.when(
        accumulate,
        () => f.get(to).get(to).memory('f32.load').get(from).memory('f32.load').op('f32.add').memory('f32.store'),
        () => f.get(to).get(from).memory('f32.load').memory('f32.store'),
      );
      f.advance(from, floatBytes).advanceBy(to, strideY);
    });
    f.advanceBy(source, sourceStride).advanceBy(target, strideX);
  });
  return f;
}
