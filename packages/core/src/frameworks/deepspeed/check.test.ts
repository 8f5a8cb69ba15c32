import { describe, expect, it } from 'vitest';
import { checkDeepspeed, looksLikeDeepspeed } from './check.js';
import { DeepspeedConfig } from './config.js';

describe('checkDeepspeed', () => {
  it('points at the key, and knows its own files', () => {
    const text =
      '{\n  "train_micro_batch_size_per_gpu": 2,\n  "expert_parallel": {"enabled": true, ' +
      '"expert_tensor_parallel_size": 2}\n}';
    const [finding] = checkDeepspeed(new DeepspeedConfig(JSON.parse(text), {}), { file: 'ds.json', text });
    expect(finding?.at?.place.start).toBe(text.indexOf('"expert_tensor_parallel_size"'));
    expect(looksLikeDeepspeed(JSON.parse(text))).toBe(true);
    expect(looksLikeDeepspeed({ model_type: 'mixtral' })).toBe(false);
  });
});
