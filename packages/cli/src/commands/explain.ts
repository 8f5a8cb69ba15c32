/** `monta explain`: a plan from its file, priced again, with reasons. */
import { formatPercent, formatSeconds } from '@monta/core/units';
import { EstimateModel, planFacts, planTitle, sensitivities } from '@monta/core/plan';
import type { MontaContext } from '../context.js';
import { renderFacts } from '../output/table.js';
import type { ExplainFlags } from './explain.flags.js';
import { loadPlan } from './plan-file.js';
import { planTable } from './plan-text.js';

/** Prices further apart than this are worth a word. */
const sameShare = 0.001;

/** Runs the command. Throws `InputError` for what is no plan. */
export function runExplain({ console }: MontaContext, flags: ExplainFlags, file: string): void {
  const { document: plan, best, others } = loadPlan(file);
  const changes = sensitivities(best, others, () => new EstimateModel());
  if (flags.json) {
    console.json({ plan, seconds: best.seconds, memoryBytes: best.memoryBytes, sensitivities: changes });
    return;
  }
  const { style } = console;
  console.print(`${style.bold(planTitle({ ...best.setting, framework: plan.framework ?? undefined }))}\n`);
  console.print(`${planTable([best, ...others], style, 0)}\n`);
  const change = best.seconds / plan.expected.seconds - 1;
  const facts = planFacts(best, others, changes);
  if (Math.abs(change) > sameShare)
    facts.push([
      'Then',
      `the file says ${formatSeconds(plan.expected.seconds)}: this version prices it ` +
        `${formatPercent(Math.abs(change))} ${change > 0 ? 'slower' : 'faster'}`,
    ]);
  if (!plan.search.complete) facts.push(['Searched', 'ended early: a faster plan may be among the rest']);
  console.print(renderFacts(facts, style));
}
