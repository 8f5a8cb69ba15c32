/**
 * The experts that every token visits, as a part of the MoE layer's templates. They run on a lane of their own, beside
 * the dispatch and the combine; what they add joins the layer's sum at its end. Their collectives over TP are issued
 * where they hold up none of the routed rows'.
 */
import { gatherTokens, reducePartial } from './tensor-parallel.js';
import { emitFeedForward, emitFeedForwardBackward, type FeedForwardBlock } from './feed-forward.js';
import { dtypeBytes, rowsRegion } from './moe-shape.js';
import { streamRows, type Parts } from './moe-parts.js';
import { add, read } from './template-builder.js';
import { memoryWork } from './work.js';

/** Region of the normed tokens, all T rows of them, which the backward reads too; undefined without shared experts. */
function sharedInput({ builder, shape, activation }: Parts): string | undefined {
  if (shape.shared === undefined) return undefined;
  if (activation === 'replicated') return 'moe.normed';
  return builder.region(
    rowsRegion({
      id: 'shared.normed',
      shape,
      rows: shape.tokens,
      columns: shape.hiddenSize,
      order: 'rows',
      life: 'saved',
    }),
  );
}

function blockOf(p: Parts): FeedForwardBlock | undefined {
  const { builder, shape } = p;
  const normed = sharedInput(p);
  if (shape.shared === undefined || normed === undefined) return undefined;
  const { tokens, hiddenSize, dtype, layout, shared } = shape;
  return {
    builder,
    block: 'shared',
    tokens,
    hiddenSize,
    ffn: shared.ffn / layout.tp,
    dtype,
    lane: 'shared',
    normed,
    tokenGate: shared.gated,
  };
}

/**
 * Gathers the tokens over TP where the stream is sliced, and runs the shared experts. Returns the region of their
 * partial output.
 */
export function emitShared(p: Parts): string | undefined {
  const block = blockOf(p);
  if (block === undefined) return undefined;
  if (p.activation === 'sequence') gatherTokens(p.builder, 'moe.normed', block.normed, 'gather.shared');
  return emitFeedForward(block);
}

/** Backward: `source` holds the gradient of all T rows. Returns the region of the input's partial gradient. */
export function emitSharedBackward(p: Parts, source: () => string): string | undefined {
  const block = blockOf(p);
  return block === undefined ? undefined : emitFeedForwardBackward(block, source());
}

/** Sums a partial result over TP and adds it to `to`, which has the rows of the stream. */
export function addShared(p: Parts, partial: string | undefined, to: string): void {
  if (partial === undefined) return;
  const { builder, shape } = p;
  const from = reducePartial(builder, shape, partial, 'reduce.shared');
  builder.kernel({
    id: 'shared.add',
    kernel: 'residual.add',
    operands: { from: read(from), to: add(to) },
    work: memoryWork('add', 3 * shape.hiddenSize * dtypeBytes[shape.dtype], { rows: streamRows(shape.tokens, shape) }),
  });
}
