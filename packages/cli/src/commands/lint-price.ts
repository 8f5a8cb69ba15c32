/** What a checked run costs, which flags would make it faster, and the best plan beside. */
import type { LaunchPrice } from '@monta/core';
import { layoutText } from '@monta/core/plan';
import { changedWords, changeTexts, priceFacts } from '@monta/core/doctor';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';

const shownChanges = 6;

/** Prints it; `words` turns flags into what the person writes. */
export function showPrice(console: Console, price: LaunchPrice, words = (flags: string): string => flags): void {
  const { style } = console;
  if ('why' in price) {
    const { why, missing = [] } = price;
    const flag = missing.includes('--seq-length in the launch script') ? ': --sequence, or the launch script' : '';
    console.note(`not priced: ${why}${flag}`);
    return;
  }
  const { memoryBytes, changes, setting, framework } = price;
  const change = `one change of ${changedWords[framework]}`;
  console.print(renderFacts([...priceFacts(price)], style));
  console.print('');
  if (changes.length === 0) return;
  console.print(
    renderTable(
      [
        { header: memoryBytes > setting.cluster.device.memoryBytes ? `${change} with which it fits` : change },
        { header: 'step', align: 'number' },
        { header: 'change', align: 'right' },
        { header: 'memory', align: 'number' },
      ],
      changeTexts(changes.slice(0, shownChanges)).map(({ flags, step, change: by, memory }) => [
        words(flags),
        step,
        by,
        memory,
      ]),
      { style },
    ),
  );
  console.print('');
}

/** A price for scripts; `why` alone where there is none. */
type DescribedPrice =
  | { readonly why: string }
  | (Pick<PricedLaunch['estimate'], 'seconds' | 'tokensPerSecondPerGpu' | 'mfu' | 'parts'> &
      Pick<PricedLaunch, 'memoryBytes' | 'changes'> & {
        /** Of a device. */
        readonly capacityBytes: number;
        /** The fastest plan for the same job; null where none was found. */
        readonly best: { readonly layout: string; readonly seconds: number; readonly memoryBytes: number } | null;
      });

type PricedLaunch = Exclude<LaunchPrice, { readonly why: string }>;

export const describedPrice = (price: LaunchPrice): DescribedPrice =>
  'why' in price
    ? { why: price.why }
    : {
        seconds: price.estimate.seconds,
        tokensPerSecondPerGpu: price.estimate.tokensPerSecondPerGpu,
        mfu: price.estimate.mfu,
        parts: price.estimate.parts,
        memoryBytes: price.memoryBytes,
        capacityBytes: price.setting.cluster.device.memoryBytes,
        changes: price.changes,
        best:
          price.best === undefined
            ? null
            : {
                layout: layoutText(price.best.setting),
                seconds: price.best.seconds,
                memoryBytes: price.best.memoryBytes,
              },
      };
