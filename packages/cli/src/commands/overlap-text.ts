/** What runs beside what in a plan, in words. */
import type { OverlapVerdict } from '@monta/core';
import { formatSeconds } from '@monta/core/units';

const words: Readonly<Record<OverlapVerdict['kind'], string>> = {
  chunks: "a chunk's stages beside those of others",
  experts: "a chunk's expert GEMMs beside the transfers of others",
  shared: 'shared experts beside dispatch and combine',
  weightGradients: "experts' weight gradients beside the way back",
  reductions: 'reductions of gradients beside the backward, of a step',
  passes: "a forward beside another micro-batch's backward, of a step",
};

function verdictText({ kind, on, given, otherwiseSeconds }: OverlapVerdict): string {
  const state = `${on ? 'on' : 'off'}${given ? ' as given' : ''}`;
  const more = Math.abs(otherwiseSeconds ?? 0);
  const other = otherwiseSeconds !== undefined && otherwiseSeconds < 0 ? 'less' : 'more';
  return `${words[kind]}: ${state}, ${on ? 'without' : 'with'} it ${formatSeconds(more)} ${other}`;
}

/** A line for every kind that makes a difference here, then the others. */
export function overlapText(verdicts: readonly OverlapVerdict[]): string {
  const matters = verdicts.filter(({ otherwiseSeconds }) => otherwiseSeconds !== undefined);
  const others = verdicts
    .filter(({ otherwiseSeconds }) => otherwiseSeconds === undefined)
    .map(({ kind }) => words[kind]);
  return [
    ...matters.map(verdictText),
    ...(others.length > 0 ? [`changes nothing here: ${others.join('; ')}`] : []),
  ].join('\n');
}
