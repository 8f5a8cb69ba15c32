/** A launch script checked, priced, and set beside the best plan. */
import {
  checkMegatron,
  type Cluster,
  deviceCount,
  formatBytes,
  formatInteger,
  formatPercent,
  formatSeconds,
  InputError,
  layoutText,
  megatronLaunches,
  MegatronRun,
  type MoeModel,
  priceRun,
  readLaunchScript,
  readMegatronArguments,
  settingOfRun,
  tieShare,
  worldSize,
} from '@monta/core';
import type { PlanFields } from './question.js';
import { readSubject } from './question.js';

export interface ScriptFinding {
  readonly severity: string;
  readonly rule: string;
  readonly message: string;
  readonly consequence: string;
  readonly mend: string;
}

export interface ScriptChange {
  readonly flags: string;
  readonly step: string;
  readonly change: string;
  readonly memory: string;
}

export interface ScriptAnswer {
  readonly program: string;
  readonly findings: readonly ScriptFinding[];
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly changes: readonly ScriptChange[];
}

/** Throws `InputError` where there is no launch of Megatron-Core in the text. */
export function scriptAnswer({ script, ...asked }: PlanFields & { readonly script: string }): ScriptAnswer {
  const { model, cluster } = readSubject(asked);
  const [launch] = megatronLaunches(readLaunchScript({ file: 'script', text: script }));
  if (launch === undefined)
    throw new InputError('no launch of Megatron-Core was found', {
      file: 'script',
      expected: 'a shell script that starts pretrain_gpt.py or the like, or its flags',
    });
  const gpus = deviceCount(cluster);
  const run = new MegatronRun(readMegatronArguments(launch.arguments), { environment: launch.environment, gpus });
  const findings = checkMegatron(run).map(({ severity, rule, message, consequence, mend }) => ({
    severity,
    rule,
    message,
    consequence,
    mend,
  }));
  const program = launch.program ?? 'flags';
  if (findings.some(({ severity }) => severity === 'error')) return { program, findings, facts: [], changes: [] };
  return { program, findings, ...priceOf(run, model, cluster) };
}

const bytes = (value: number): string => formatBytes(value, 'binary');

function priceOf(run: MegatronRun, model: MoeModel, cluster: Cluster): Pick<ScriptAnswer, 'facts' | 'changes'> {
  const setting = settingOfRun(run, model, cluster);
  const why = 'ranks, batch or sequence are not known, or do not divide';
  if (setting === undefined || worldSize(setting.layout) !== deviceCount(cluster))
    return { facts: [['Not priced', why]], changes: [] };
  const { estimate, memoryBytes, changes, best } = priceRun(setting);
  const capacity = cluster.device.memoryBytes;
  const faster = best === undefined ? 0 : 1 - best.seconds / estimate.seconds;
  return {
    facts: [
      [
        'Step',
        `${formatSeconds(estimate.seconds)} predicted, ${formatInteger(Math.round(estimate.tokensPerSecondPerGpu))} ` +
          `tokens/s a GPU, MFU ${formatPercent(estimate.mfu)}`,
      ],
      ['Memory', `${memoryBytes > capacity ? 'does not fit: ' : ''}${bytes(memoryBytes)} of ${bytes(capacity)}`],
      [
        'Best plan',
        best === undefined || faster <= tieShare
          ? 'none that is more than a tie faster'
          : `${layoutText(best.setting)}: ${formatSeconds(best.seconds)}, ${formatPercent(faster)} less, ` +
            bytes(best.memoryBytes),
      ],
    ],
    changes: changes.map(({ flags, seconds, gain, memoryBytes: memory }) => ({
      flags,
      step: formatSeconds(seconds),
      change: `${gain > 0 ? '−' : '+'}${formatPercent(Math.abs(gain))}`,
      memory: bytes(memory),
    })),
  };
}
