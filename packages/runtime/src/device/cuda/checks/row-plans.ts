/** Plans of row moves that the card lists for itself, beside those of the host: orders of picks, and pairs of rows. */
import { parseLayout } from '@monta/core/layout';
import { getModel } from '@monta/core/model';
import { inChunks, moeShape, namedStrategies, trainingStep, type StepShape, type Strategy } from '@monta/core/schedule';
import { countingSort, maxOf } from '@monta/core/units';
import type { RowPairs } from '@monta/core';
import { LayerRouting, RoutingShape, type ReturnedRequest } from '../../../rows/layer-routing.js';
import { hostIds, type ReturnedPicks } from '../../../rows/pick-order.js';
import type { PlannedMoves } from '../../../rows/planned-moves.js';
import { CudaKernelCall } from '../catalogue/call.js';
import { orderOnCard, returnedOnCard } from '../catalogue/pick-orders.js';
import { pairsOnCard, sortedPairs } from '../catalogue/row-pairs.js';
import { streamTools } from '../cuda-lane.js';
import type { CheckBench } from './bench.js';

type Call = CudaKernelCall<never, unknown>;

const [ranks, experts, topK] = [2, 16, 4];

const stepOf = (tokens: number, strategy: Strategy): StepShape => ({
  model: { ...getModel('qwen3-30b-a3b'), layers: 1, moeLayers: [true], experts, topK },
  layout: { ...parseLayout(`dp=${ranks},ep=${ranks}`), ranksPerNode: ranks },
  sequence: tokens,
  sequences: 1,
  microBatches: 1,
  dtype: 'bf16',
  strategy,
});

/** Random picks of all tokens of the group, some of them dropped. */
function groupPicks(bench: CheckBench, tokens: number): Int32Array {
  const ids = new Int32Array(ranks * tokens * topK);
  for (let token = 0; token < ranks * tokens; token++) {
    const first = bench.random.integer(experts);
    for (let pick = 0; pick < topK; pick++) {
      const id = (first + pick * (1 + bench.random.integer(experts / topK))) % experts;
      const twice = ids.subarray(token * topK, token * topK + pick).some((other) => other === id || other === ~id);
      ids[token * topK + pick] = twice || bench.random.uniform() < 0.05 ? ~id : id;
    }
  }
  return ids;
}

function checkPairs(bench: CheckBench, call: Call, of: string, moves: PlannedMoves): void {
  const card = pairsOnCard(call, moves);
  for (const what of ['fine', 'coarse', 'picks'] as const)
    bench.expect(`${of}: ${what}`, bench.ints(card[what], moves.count), moves[what], 0);
  const rows = 1 + maxOf([0, ...moves.coarse]);
  const sorted = sortedPairs(call, moves, rows);
  const { starts, order } = countingSort(moves.coarse, rows);
  bench.expect(`${of}: starts`, bench.ints(sorted.starts, rows + 1), starts, 0);
  for (const what of ['fine', 'picks'] as const) {
    const expected = order.map((pair) => moves[what][pair]);
    bench.expect(`${of}: ${what} by coarse row`, bench.ints(sorted[what], moves.count), expected, 0);
  }
}

function checkReturned(bench: CheckBench, call: Call, of: string, returned: ReturnedPicks): void {
  const { order } = returned;
  const card = orderOnCard(call, order);
  bench.expect(`${of}: pick of each row`, bench.ints(card.rowPick, order.rows), order.rowPick, 0);
  bench.expect(`${of}: row of each pick`, bench.ints(card.pickRow, order.pickRow.length), order.pickRow, 0);
  const placed = bench.ints(returnedOnCard(call, returned), returned.range.length);
  bench.expect(`${of}: returned row of each pick`, placed, returned.pickRow, 0);
}

export function checkRowPlans(bench: CheckBench): void {
  const tokens = bench.of(1500);
  const all = groupPicks(bench, tokens);
  const tools = streamTools(bench.context, bench.on.stream);
  for (const name of ['scattered', 'deduplicated-gathered'] as const)
    for (const chunks of [1, 3]) {
      const step = stepOf(tokens, inChunks(namedStrategies[name], chunks));
      const own = hostIds(all.slice(tokens * topK));
      const routing = LayerRouting.ofPicks(new RoutingShape(moeShape(step), 1), all, own);
      const call: Call = new CudaKernelCall(tools, { kernel: 'copy', operands: {}, arguments: {} }, () => undefined);
      for (const [template, { operations }] of Object.entries(trainingStep(step).templates))
        for (const { id, body } of operations) {
          if (body.kind !== 'kernel') continue;
          const of = `${name}, ${chunks} chunks: ${template} ${id}`;
          const { pairs } = body.arguments as { readonly pairs?: RowPairs };
          if (pairs !== undefined) checkPairs(bench, call, of, routing.moves(pairs, body.work.chunk, body.work.of));
          else if (body.name === 'moe.combine')
            checkReturned(bench, call, of, routing.returned(body.arguments as unknown as ReturnedRequest));
        }
      for (const address of call.temporaries) bench.context.memory.free(address);
      routing.over();
    }
}
