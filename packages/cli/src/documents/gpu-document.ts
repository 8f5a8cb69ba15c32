/** docs/gpu.md as a whole, from the reports that lie beside it. */
import { checkNames, type GpuReport } from '@monta/runtime/bench/cuda';
import { gpuNodesText } from './gpu-nodes-page.js';
import { gpuPage } from './gpu-page.js';
import { gpuRunsText, runParts, type RunReports } from './gpu-runs-page.js';

/** Of hosts with so many cards; the most first. */
const nodesFiles = ['gpu-nodes-8.json', 'gpu-nodes-4.json', 'gpu-nodes-2.json', 'gpu-nodes.json'];

/** `read` gives a report by the name of its file, or undefined. Throws where there is no report of a card at all. */
export function gpuDocument(read: (name: string) => GpuReport | undefined): string {
  const card = read('gpu.json');
  if (card === undefined) throw new Error('docs/gpu.json is missing: ./run gpu.json in the bundle writes it');
  const there = nodesFiles.flatMap((file) => {
    const report = read(file);
    return report?.nodes === undefined ? [] : [{ file, report }];
  });
  const several = there.some(({ report }) => (report.nodes?.cards ?? 1) > 1);
  const further: RunReports = { starts: read('gpu-starts-shared.json'), choices: read('gpu-choices-before.json') };
  const choices = [read('gpu-choices.json'), further.choices].flatMap((report) => report?.choices ?? []);
  const nodes = there.map(({ file, report }) => gpuNodesText(report, { file, several, choices }));
  const runs: RunReports = Object.fromEntries(runParts.map((part) => [part, read(`gpu-${part}.json`)]));
  return [gpuPage(card, Object.values(runs)), ...nodes, gpuRunsText(runs, { card, checkNames, further })].join('\n');
}
