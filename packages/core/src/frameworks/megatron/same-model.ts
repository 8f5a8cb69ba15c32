/** Whether Megatron flags describe the model that a person names. */
import type { MoeModel } from '../../model/model.js';
import type { Finding } from '../finding.js';
import { megatronFlags } from './flags.js';
import type { MegatronRun } from './run.js';

const shapeOf = (model: MoeModel): readonly (readonly [field: string, value: number])[] => [
  ['num_layers', model.layers],
  ['hidden_size', model.hiddenSize],
  ['num_attention_heads', model.attentionHeads],
  ['num_query_groups', model.keyValueHeads],
  ['num_experts', model.experts],
  ['moe_router_topk', model.topK],
  ['moe_ffn_hidden_size', model.expertFfn],
];

/** A finding for every size that is given and is not the model's. */
export function differencesFrom(model: MoeModel, run: MegatronRun): Finding[] {
  return shapeOf(model).flatMap(([field, value]) => {
    const given = run.given(field) ? run.number(field) : undefined;
    if (given === undefined || given === value) return [];
    if (field === 'num_query_groups' && !run.on('group_query_attention')) return [];
    const flag = run.at(field);
    const name = megatronFlags.ofField(field).names[0] ?? field;
    return [
      {
        severity: 'slow',
        rule: 'another-model',
        flags: [name],
        message: `${name} is ${given}, the model has ${value}`,
        consequence: 'another model than the one named is trained',
        mend: `${name} ${value}`,
        source: 'the model that was given',
        ...(flag === undefined ? {} : { at: flag }),
      },
    ];
  });
}
