/** A plan in the words of another framework. */
import type { Exported, ExportOptions, ExportPlan, ExportTarget } from './exported.js';
import { megatronSettings } from './megatron-settings.js';
import { writeBridge } from './write-bridge.js';
import { deepspeedSettings, writeDeepspeed } from './write-deepspeed.js';
import { writeMegatron } from './write-megatron.js';
import { torchtitanSettings, writeTorchtitan } from './write-torchtitan.js';

export interface ExportedText extends Exported {
  readonly text: string;
}

/**
 * Text for the framework, with what stands behind it. Throws `InputError` with the reason for a plan that the framework
 * can't run.
 */
export function exportPlan(plan: ExportPlan, target: ExportTarget, options: ExportOptions = {}): ExportedText {
  switch (target) {
    case 'deepspeed': {
      const exported = deepspeedSettings(plan, options);
      return { ...exported, text: writeDeepspeed(exported) };
    }
    case 'torchtitan': {
      const exported = torchtitanSettings(plan, options);
      return { ...exported, text: writeTorchtitan(plan, exported) };
    }
    case 'bridge': {
      const exported = megatronSettings(plan, { ...options, whole: false });
      const whole = megatronSettings(plan, { ...options, whole: true });
      // the recipe has the model's shape, which the rules need
      return { ...exported, text: writeBridge(plan, exported, whole) };
    }
    case 'megatron':
    case 'torchrun':
    case 'slurm': {
      const exported = megatronSettings(plan, { ...options, whole: true });
      return { ...exported, text: writeMegatron(plan, exported, target) };
    }
  }
}
