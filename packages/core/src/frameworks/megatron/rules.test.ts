import { expect, test } from 'vitest';
import type { Located } from '../shell/place.js';
import { checkMegatron, megatronRules } from './check.js';
import { megatronFlags } from './flags.js';
import { MegatronRun, type RunContext } from './run.js';
import { readMegatronArguments } from './settings.js';
import { legalExpertSizes, neighbouringWorlds, smallestWorld } from './world.js';

const place = { source: { file: 'flags', text: '' }, start: 0, end: 0 };
const located = (text: string): Located => ({ text, place });

function runOf(flags: string, { environment = {}, ...context }: Context = {}): MegatronRun {
  const words = flags.split(/\s+/u).filter((word) => word !== '');
  return new MegatronRun(readMegatronArguments(words.map(located)), {
    ...context,
    environment: new Map(Object.entries(environment).map(([name, text]) => [name, located(text)])),
  });
}

type Context = Omit<RunContext, 'environment'> & { readonly environment?: Readonly<Record<string, string>> };

const broken = (flags: string, context?: Context): string[] =>
  checkMegatron(runOf(flags, context)).map(({ rule }) => rule);

test('every field that a rule names is set by a flag', () => {
  for (const { fields } of megatronRules)
    for (const field of fields) expect(() => megatronFlags.ofField(field)).not.toThrow();
});

test('rules say nothing of what is not known', () => {
  const known =
    '--num-experts 8 --disable-bias-linear --moe-aux-loss-coeff 0.01 --moe-router-dtype fp32 --moe-ffn-hidden-size 9 ' +
    '--moe-token-dispatcher-type alltoall';
  const unknown = '\uE000$TP\uE001';
  const flags =
    `${known} --expert-tensor-parallel-size 1 --sequence-parallel --num-attention-heads 30 ` +
    `--tensor-model-parallel-size ${unknown}`;
  expect(broken(flags, { gpus: 7 })).toEqual([]);
});

/** Megatron's own way to groups: the ranks of a stage are cut twice, for attention and for experts. */
function fits(gpus: number, attention: number, experts: number, stages: number): boolean {
  return gpus % stages === 0 && (gpus / stages) % attention === 0 && (gpus / stages) % experts === 0;
}

test('the smallest world is the least that both mappings fit, and its neighbours are legal', () => {
  for (const tensor of [1, 2, 3, 4, 6, 8])
    for (const expert of [1, 2, 4, 8, 12])
      for (const pipeline of [1, 2, 3]) {
        const flags =
          `--num-experts 96 --tensor-model-parallel-size ${tensor} --expert-model-parallel-size ` +
          `${expert} --pipeline-model-parallel-size ${pipeline} --expert-tensor-parallel-size 1`;
        const run = runOf(flags);
        const worlds = Array.from({ length: 200 }, (_, index) => index + 1).filter((gpus) =>
          fits(gpus, tensor, expert, pipeline),
        );
        expect(smallestWorld(run)).toBe(worlds[0]);
        const near = neighbouringWorlds(run, 50);
        expect(near?.below).toBe(worlds.filter((gpus) => gpus <= 50).at(-1));
        expect(near?.above).toBe(worlds.find((gpus) => gpus >= 50));
        for (const size of legalExpertSizes(run, 48)) expect(fits(48, 1, size, pipeline)).toBe(true);
      }
});

test('a flag is found by each of its spellings, and sets its field', () => {
  for (const flag of megatronFlags.flags)
    for (const name of flag.names) expect(megatronFlags.get(name)?.field).toBe(flag.field);
  expect(megatronFlags.flags.length).toBeGreaterThan(800);
});

test('where words are not known, what they may be is no error', () => {
  const flags = '--overlap-param-gather --overlap-grad-reduce --num-attention-heads 6 --tensor-model-parallel-size 4';
  const severity = (given: string): (readonly string[])[] =>
    checkMegatron(runOf(given)).map((finding) => [finding.rule, finding.severity]);
  expect(severity(flags)).toEqual([
    ['heads-over-tensor-parallel', 'error'],
    ['parameter-gather', 'error'],
  ]);
  // `--bf16 $OPTIMIZER`: nothing, or flags
  expect(severity(`${flags} --bf16 \uE000$OPTIMIZER\uE001`)).toEqual([
    ['heads-over-tensor-parallel', 'error'],
    ['parameter-gather', 'unknown'],
  ]);
});
