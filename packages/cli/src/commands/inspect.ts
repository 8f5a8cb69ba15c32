/** `monta inspect`: what a checkpoint holds, and whether it is complete. */
import { formatBytes, formatCount, formatInteger, formatPercent } from '@monta/core/units';
import { formatLayout } from '@monta/core/layout';
import { inspectCheckpoint, type InspectedCheckpoint, type InspectedRun } from '@monta/runtime/checkpoint';
import type { MontaContext } from '../context.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { InspectFlags } from './inspect.flags.js';

/** A checkpoint that can't be used, after it was described: exit code 1. */
class Incomplete extends Error {
  override readonly name = 'Incomplete';
  readonly exitCode = 1;
}

function verdict({ complete, digests }: InspectedCheckpoint): string {
  if (!complete) return 'no';
  return digests === true ? 'yes; every file matches its digest' : 'yes; the files carry no digests to compare with';
}

function facts(checkpoint: InspectedCheckpoint): (readonly [string, string])[] {
  const { kind, files, bytes, model, parameters, types, states, step, layout, data } = checkpoint;
  const list: (readonly [string, string])[] = [['Form', kind === 'hf' ? 'Hugging Face folder' : 'training state']];
  if (model !== undefined && parameters !== undefined)
    list.push(
      [
        'Model',
        `${model.family}, ${formatCount(parameters.total)} parameters, ${formatCount(parameters.active)} active`,
      ],
      [
        'Shape',
        `${model.layers} layers, hidden ${formatInteger(model.hiddenSize)}, vocabulary ` +
          formatInteger(model.vocabSize),
      ],
      [
        'Experts',
        `${model.topK} of ${model.experts}, width ${formatInteger(model.expertFfn)}, on ` +
          `${model.moeLayers.filter(Boolean).length} layers`,
      ],
    );
  if (step !== undefined) list.push(['Step', formatInteger(step)]);
  if (states !== undefined && types !== undefined)
    list.push(['States', `${states.join(', ')} in ${types.join(', ').toLowerCase()}`]);
  if (layout !== undefined) list.push(['Layout', formatLayout(layout)]);
  if (data !== undefined)
    list.push([
      'Data',
      `${data.text}, seed ${data.seed}, next step ${formatInteger(data.nextStep)} of ` +
        `${formatInteger(data.sequencesPerStep)} x ${formatInteger(data.sequence)} tokens`,
    ]);
  for (const note of checkpoint.notes ?? []) list.push(['Note', note]);
  list.push(
    ['Size', `${formatBytes(bytes)} in ${formatInteger(files.length)} files`],
    ['Complete', verdict(checkpoint)],
  );
  const { notComputed } = checkpoint;
  if (notComputed !== undefined) list.push(['Computed', `not here: ${notComputed.split('\n')[0] ?? ''}`]);
  return list;
}

function showOne(console: Console, checkpoint: InspectedCheckpoint, tensors: boolean): void {
  const { style } = console;
  console.print(`${style.bold(checkpoint.path)}\n`);
  console.print(renderFacts(facts(checkpoint), style));
  const { parameters } = checkpoint;
  if (parameters !== undefined) {
    const parts = ['attention', 'dense', 'sharedExperts', 'experts', 'router', 'norms', 'embedding', 'output'] as const;
    console.print();
    console.print(
      renderTable(
        [{ header: 'part' }, { header: 'parameters', align: 'right' }, { header: 'share', align: 'right' }],
        parts
          .filter((part) => parameters[part] > 0)
          .map((part) => [
            part === 'sharedExperts' ? 'shared experts' : part,
            formatInteger(parameters[part]),
            formatPercent(parameters[part] / parameters.total),
          ]),
        { style },
      ),
    );
  }
  if (tensors && checkpoint.tensors !== undefined) {
    console.print();
    console.print(
      renderTable(
        [{ header: 'tensor' }, { header: 'shape', align: 'right' }, { header: 'type' }],
        checkpoint.tensors.map(({ name, shape, type }) => [
          name,
          shape.map((size) => formatInteger(size)).join(' x '),
          (type ?? '').toLowerCase(),
        ]),
        { style },
      ),
    );
  }
}

function showRun(console: Console, { path, checkpoints }: InspectedRun): void {
  console.print(`${console.style.bold(path)}\n`);
  console.print(
    renderTable(
      [
        { header: 'step', align: 'right' },
        { header: 'layout' },
        { header: 'size', align: 'number' },
        { header: 'complete' },
      ],
      checkpoints.map((checkpoint) => [
        checkpoint.step === undefined ? (checkpoint.path.split('/').at(-1) ?? '') : formatInteger(checkpoint.step),
        checkpoint.layout === undefined ? '–' : formatLayout(checkpoint.layout),
        formatBytes(checkpoint.bytes),
        checkpoint.complete ? 'yes' : 'no',
      ]),
      { style: console.style },
    ),
  );
}

/**
 * Runs the command. Throws `InputError` for what is no checkpoint, and an error of exit code 1 when one is not
 * complete.
 */
export function runInspect({ console }: MontaContext, flags: InspectFlags, folder: string): void {
  const inspected = inspectCheckpoint(folder);
  if (flags.json) console.json(inspected);
  else if (inspected.kind === 'run') showRun(console, inspected);
  else showOne(console, inspected, flags.tensors);
  const problems = (inspected.kind === 'run' ? inspected.checkpoints : [inspected]).flatMap(
    ({ problem }) => problem ?? [],
  );
  if (problems.length > 0) throw new Incomplete(problems.join('\n'));
}
