/**
 * `npm run docs:bytes`: every pair of halves on 16 ranks over MPI, forward and backward, f32 and fp8, and docs/bytes.md
 * of the bytes that their messages put on every port, beside the predicted ones. Exit code 1 where any differ.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { allHalves, formatInteger, formatLayout, maxOf } from '@monta/core';
import { bytesOverMpi, everyPlace, type PortBytes } from './port-bytes.js';

const page = fileURLToPath(new URL('../../../../docs/bytes.md', import.meta.url));

const sum = (values: Float64Array): number => values.reduce((all, one) => all + one, 0);
const differs = ({ carried, predicted }: PortBytes): number =>
  carried.filter((bytes, port) => bytes !== predicted[port]).length;
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function tableOf(all: readonly PortBytes[]): string[] {
  const pairs = [...new Set(all.map(({ halves }) => halves))];
  return [
    row([
      'halves',
      ...['f32', 'fp8'].flatMap((type) => [`${type}: busiest port`, 'predicted', 'all ports', 'predicted']),
    ]),
    row([':--', ...Array.from({ length: 8 }, () => '--:')]),
    ...pairs.map((halves) =>
      row([
        halves,
        ...(['f32', 'fp8'] as const).flatMap((type) => {
          const one = all.find((other) => other.halves === halves && other.payload === type);
          if (one === undefined) return ['', '', '', ''];
          const { carried, predicted } = one;
          return [maxOf(carried), maxOf(predicted), sum(carried), sum(predicted)].map(formatInteger);
        }),
      ]),
    ),
  ];
}

const sections: string[][] = [];
let wrong = 0;
for (const place of everyPlace) {
  const all = await bytesOverMpi(place, allHalves());
  const [{ layout, carried }] = all;
  const different = all.reduce((count, one) => count + differs(one), 0);
  const inexact = all.flatMap(({ errors }) => errors).filter((error) => !(error < 1e-5)).length;
  wrong += different + inexact;
  sections.push([
    '',
    `## ${place[0]}, \`${formatLayout(layout)}\``,
    '',
    `${all.length} dispatches on ${carried.length} ports: ${different} of ${all.length * carried.length} ports ` +
      `carried other bytes than predicted, ${inexact} results were wrong.`,
    '',
    ...tableOf(all),
  ]);
}
writeFileSync(
  page,
  [
    '# Bytes of every way to dispatch, port by port',
    '',
    'Written by `npm run docs:bytes`. Each pair of halves moves one MoE layer, forward and backward, on 16 processes ' +
      'over MPI: 37 tokens a replica, 16 experts, top-3, rows of 192 elements, skewed routing, one or two chunks. ' +
      'The bytes of every message are counted where it is sent, and laid onto the ports of its way: NICs and links ' +
      'inside a node, in and out. Predicted bytes are those that the simulator prices, of the same routing.',
    '',
    'The table shows the busiest port and the sum over all ports, bytes. Every port is compared.',
    ...sections.flat(),
    '',
  ].join('\n'),
);
process.exitCode = wrong === 0 ? 0 : 1;
