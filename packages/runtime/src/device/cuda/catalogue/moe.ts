/** Router. */
import type { KernelName } from '@monta/core';
import { linear, linearInputGradient, linearWeightGradient, sumOfRows } from './linear.js';
import { addBias } from '../operations/matrix.js';
import { expertCapacity } from '../../../moe/index.js';
import {
  addPicks,
  dropGathered,
  dropRouted,
  notePicks,
  routerChoose,
  routerGradient,
  routerSelect,
} from '../operations/router.js';
import type { Address } from '../bindings/index.js';
import type { Storage } from '../kernel-source.js';
import { elementSize } from '../operations/launcher.js';
import type { CudaCatalogue } from './call.js';

type MoeKernel = Extract<KernelName, 'moe.count' | 'moe.picks' | `moe.capacity${string}` | `moe.router${string}`>;

/** Of T tokens, those of this rank's slice; all where only the slice is there. */
const ownTokens = (tokens: number, scope: 'slice' | 'replica', slice: { start: number; end: number }) =>
  scope === 'slice' ? { start: 0, end: tokens } : slice;

const threads = 256;

/** Address of row `row` of `columns` elements. */
const rowAt = (storage: Storage, base: Address, row: number, columns: number): Address =>
  base + elementSize(storage) * row * columns;

export const moeKernels: CudaCatalogue<MoeKernel> = {
  'moe.router': (call) => {
    const { scope, renormalise, slice, selection } = call.arguments;
    const [tokens, inputs] = [call.rows('normed'), call.columns('normed')];
    const [experts, picks] = [call.columns('probabilities'), call.columns('ids')];
    const probabilities = call.f32('probabilities');
    const ids = call.i32('ids');
    const arrays = { x: call.real('normed'), weight: call.real('weight'), y: probabilities, output: 'f32' as const };
    linear(call, { rows: tokens, inputs, outputs: experts }, arrays);
    if (call.has('bias'))
      addBias(call.on, { rows: tokens, width: experts }, { y: probabilities, bias: call.real('bias'), wide: true });
    const routes = { logits: probabilities, probabilities, ids, weights: call.f32('weights') };
    const shape = { tokens, experts, picks, renormalise };
    if (selection === undefined) routerSelect(call.on, shape, routes);
    else {
      const bias = call.has('selectionBias') ? { bias: call.f32('selectionBias') } : {};
      routerChoose(call.on, { ...shape, selection }, { ...routes, ...bias });
    }
    const { start, end } = ownTokens(tokens, scope, slice);
    call.on.launch(
      'router',
      'router_statistics',
      { blocks: experts, threads },
      {
        probabilities: rowAt('f32', probabilities, start, experts),
        ids: call.i32('ids', start * picks),
        statistics: call.f32('statistics'),
        tokens: end - start,
        experts,
        picks,
      },
    );
  },
  'moe.picks': (call) => {
    const [tokens, picks, experts] = [call.rows('ids'), call.columns('ids'), call.columns('probabilities')];
    const [probabilities, ids, noted] = [call.f32('probabilities'), call.i32('ids'), call.f32('picks')];
    notePicks(call.on, { tokens, experts, picks }, { probabilities, ids, noted });
  },
  'moe.capacity': (call) => {
    const [tokens, picks, experts] = [call.rows('ids'), call.columns('ids'), call.columns('probabilities')];
    const capacity = expertCapacity(call.arguments.factor, tokens, picks, experts);
    const [probabilities, ids, weights] = [call.f32('probabilities'), call.i32('ids'), call.f32('weights')];
    dropRouted(call.on, { tokens, experts, picks, capacity }, { probabilities, ids, weights });
  },
  'moe.capacity.gathered': (call) => {
    const { factor, experts, slice } = call.arguments;
    const [tokens, picks] = [call.rows('picks'), call.columns('ids')];
    const capacity = expertCapacity(factor, tokens, picks, experts);
    const to = { noted: call.f32('picks'), ids: call.i32('ids'), weights: call.f32('weights') };
    dropGathered(call.on, { tokens, experts, picks, capacity, slice }, to);
  },
  'moe.count': (call) => {
    const picks = call.operand('ids').view.length;
    const blocks = call.operand('counts').view.length;
    call.on.launch(
      'router',
      'count_picks',
      { blocks, threads },
      { ids: call.i32('ids'), counts: call.i32('counts'), picks },
    );
  },
  'moe.router.backward': (call) => {
    const { scope, renormalise, coefficient, pooledTokens, slice, selection } = call.arguments;
    const [tokens, experts] = [call.rows('probabilities'), call.columns('probabilities')];
    const [inputs, picks] = [call.columns('normedGradient'), call.columns('ids')];
    const [auxiliary, dlogits] = [call.scratch(experts), call.scratch(tokens * experts)];
    const rounded = call.storage === 'f32' ? undefined : call.scratch(tokens * experts);
    const dy = rounded ?? dlogits;
    const counts = call.f32('statistics');
    const balance = { counts, gradient: auxiliary, experts, pooledTokens, coefficient };
    call.on.launch('router', 'auxiliary_gradient', { blocks: 1, threads }, balance);
    routerGradient(
      call.on,
      { tokens, experts, picks, renormalise, selection },
      {
        probabilities: call.f32('probabilities'),
        ids: call.i32('ids'),
        dweights: call.f32('routeGradient'),
        auxiliary,
        dlogits,
        ...(rounded === undefined ? {} : { rounded }),
      },
    );
    const size = { rows: tokens, inputs, outputs: experts };
    linearInputGradient(call, size, { dy, weight: call.real('weight'), dx: call.real('normedGradient') });
    // The weight's gradient only of the own slice, also where all tokens are differentiated: the update sums it over
    // TP.
    const { start, end } = ownTokens(tokens, scope, slice);
    linearWeightGradient(
      call,
      { ...size, rows: end - start },
      {
        dy: rowAt(call.storage, dy, start, experts),
        x: call.real('normed'),
        dweight: call.f32('weightGradient'),
      },
    );
    if (call.has('biasGradient')) {
      const own = { x: rowAt('f32', dlogits, start, experts), out: call.f32('biasGradient') };
      const scratch = (elements: number): Address => call.scratch(elements);
      sumOfRows({ on: call.launcher('f32'), scratch }, { rows: end - start, width: experts }, own);
    }
    if (call.has('picks'))
      addPicks(
        call.on,
        { ids: call.i32('ids', start * picks), picks: call.f32('picks') },
        { count: (end - start) * picks, experts },
      );
  },
};
