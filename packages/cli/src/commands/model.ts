/** `monta model`: lists the known models, or shows one. */
import type { MoeModel } from '@monta/core';
import { formatCount, formatInteger, formatPercent, InputError } from '@monta/core/units';
import {
  computedConvention,
  countParameters,
  forwardFlopsPerToken,
  furtherModels,
  modelPresets,
  trainingFlopsPerToken,
} from '@monta/core/model';
import type { MontaContext } from '../context.js';
import { loadModel } from '../inputs.js';
import type { Console } from '../output/console.js';
import { renderFacts, renderTable } from '../output/table.js';
import type { ModelFlags } from './model.flags.js';

const usualSequence = 4096;

function list(console: Console): void {
  const rows = [...modelPresets.values()].map((model) => {
    const parameters = countParameters(model);
    return [
      model.name,
      formatCount(parameters.total),
      formatCount(parameters.active),
      String(model.layers),
      formatInteger(model.hiddenSize),
      model.experts === 0 ? 'none' : `${model.topK} of ${model.experts}${model.sharedExpertFfn > 0 ? ' + shared' : ''}`,
      model.experts === 0 ? '–' : formatInteger(model.expertFfn),
      `${model.attentionHeads} / ${model.keyValueHeads}`,
    ];
  });
  console.print(
    renderTable(
      [
        { header: 'model' },
        { header: 'parameters', align: 'right' },
        { header: 'active', align: 'right' },
        { header: 'layers', align: 'number' },
        { header: 'hidden', align: 'number' },
        { header: 'experts' },
        { header: 'expert width', align: 'number' },
        { header: 'heads / kv' },
      ],
      rows,
      { style: console.style },
    ),
  );
  const further = [...furtherModels.keys()].sort((a, b) => a.localeCompare(b, 'en'));
  console.print(`\nKnown by name too: ${further.join(', ')}.`);
  console.print('\nAny Hugging Face config.json of these families works too: monta model path/to/config.json.');
}

function layerKinds(model: MoeModel, moe: number): string {
  const dense = `dense of width ${formatInteger(model.denseFfn)}`;
  if (moe === model.layers) return ', all with experts';
  return moe === 0 ? `, all ${dense}` : `, ${moe} with experts, the others ${dense}`;
}

/** Facts about a shape that differ from model to model. */
function shapeFacts(model: MoeModel): [string, string][] {
  const moe = model.moeLayers.filter(Boolean).length;
  const latent = model.latentAttention;
  const activation = model.gated ? `gated ${model.activation}` : model.activation;
  return [
    ['Layers', `${model.layers}${layerKinds(model, moe)}`],
    [
      'Width',
      `hidden ${formatInteger(model.hiddenSize)}, vocabulary ` +
        `${formatInteger(model.vocabSize)}${model.tieEmbeddings ? ' (tied)' : ''}`,
    ],
    [
      'Attention',
      latent === undefined
        ? `${model.attentionHeads} heads, ${model.keyValueHeads} of keys and values, ${model.headDim} wide`
        : `${model.attentionHeads} heads, latent: keys and values of rank ${latent.keyValueRank}, queries of rank ` +
          `${latent.queryRank ?? 'full'}`,
    ],
    [
      'Experts',
      moe === 0
        ? `none; feed-forwards are ${activation}`
        : `${model.topK} of ${model.experts}, width ${formatInteger(model.expertFfn)}, ${activation}, ` +
          `${model.scoring} router` +
          (model.sharedExpertFfn > 0 ? `; shared of width ${formatInteger(model.sharedExpertFfn)}` : ''),
    ],
  ];
}

/** Parameters and operations of each part that there is, and of all. */
function partRows(model: MoeModel, sequence: number): string[][] {
  const parameters = countParameters(model);
  const flops = forwardFlopsPerToken(model, sequence);
  const flopParts: Readonly<Record<string, number | undefined>> = {
    attention: flops.attentionProjections + flops.attentionCore,
    dense: flops.dense,
    'shared experts': flops.sharedExperts,
    experts: flops.experts,
    router: flops.router,
    output: flops.logits,
    'multi-token prediction': flops.multiToken,
  };
  const parts: [name: string, parameters: number, active: number][] = [
    ['attention', parameters.attention, parameters.attention],
    ['dense', parameters.dense, parameters.dense],
    ['shared experts', parameters.sharedExperts, parameters.sharedExperts],
    ['experts', parameters.experts, parameters.experts - (parameters.total - parameters.active)],
    ['router', parameters.router, parameters.router],
    ['norms', parameters.norms, parameters.norms],
    ['embedding', parameters.embedding, parameters.embedding],
    ['output', parameters.output, parameters.output],
    ['multi-token prediction', parameters.multiToken, parameters.multiToken],
  ];
  const rows = parts
    .filter(([name, count]) => count > 0 || (flopParts[name] ?? 0) > 0)
    .map(([name, count, active]) => {
      const partFlops = flopParts[name] ?? 0;
      return [
        name,
        formatInteger(count),
        name === 'multi-token prediction' ? 'beside' : formatPercent(count / parameters.total),
        name === 'multi-token prediction' ? '–' : formatInteger(active),
        partFlops === 0 ? '–' : formatCount(partFlops),
        partFlops === 0 ? '–' : formatPercent(partFlops / flops.total),
      ];
    });
  rows.push([
    'total',
    formatInteger(parameters.total),
    '',
    formatInteger(parameters.active),
    formatCount(flops.total),
    '',
  ]);
  return rows;
}

function show(console: Console, model: MoeModel, sequence: number): void {
  const parameters = countParameters(model);
  console.print(
    `${console.style.bold(model.name)} · ${formatCount(parameters.total)} parameters, ` +
      `${formatCount(parameters.active)} active · ${model.family}\n`,
  );
  console.print(renderFacts(shapeFacts(model), console.style));
  const rows = partRows(model, sequence);
  console.print();
  console.print(
    renderTable(
      [
        { header: 'part' },
        { header: 'parameters', align: 'right' },
        { header: 'share', align: 'right' },
        { header: 'active', align: 'right' },
        { header: 'FLOP/token forward', align: 'right' },
        { header: 'share', align: 'right' },
      ],
      rows,
      { style: console.style },
    ),
  );
  console.print(
    `\nTraining takes ${formatCount(trainingFlopsPerToken(model, sequence))} FLOP a token at ` +
      `${formatInteger(sequence)} tokens: three times the forward pass, no recomputation;\n` +
      'causal attention counts half the sequence, a multiply-add two, the router is included.',
  );
}

/** The JSON of a model: its shape, parameters by part, and FLOPs per token with the convention they are counted in. */
function describe(model: MoeModel, sequence: number) {
  return {
    ...model,
    parameters: countParameters(model),
    sequence,
    flopsConvention: computedConvention,
    forwardFlopsPerToken: forwardFlopsPerToken(model, sequence),
    trainingFlopsPerToken: trainingFlopsPerToken(model, sequence),
  };
}

/** Runs the command. Throws `InputError` for an unknown name, a bad file or a sequence of no tokens. */
export function runModel({ console }: MontaContext, flags: ModelFlags, name?: string): void {
  if (flags.sequence !== undefined && flags.sequence < 1) {
    throw new InputError(`${flags.sequence} is not a sequence length`, {
      path: '--sequence',
      expected: 'at least 1 token',
    });
  }
  const sequenceOf = (model: MoeModel) =>
    flags.sequence ?? Math.min(usualSequence, model.maxPositions ?? usualSequence);
  if (name === undefined) {
    if (flags.json) console.json([...modelPresets.values()].map((model) => describe(model, sequenceOf(model))));
    else list(console);
    return;
  }
  const model = loadModel(name);
  if (flags.json) console.json(describe(model, sequenceOf(model)));
  else show(console, model, sequenceOf(model));
}
