/** The page of plans: what is asked, the best layouts, and everything about the one that is looked at. */
import { useEffect } from 'preact/hooks';
import { formatSeconds } from '@monta/core';
import { Complaint } from '../base/field.js';
import { ClusterEvidence } from './cluster-evidence.js';
import { ExportPanel } from './export-panel.js';
import { MemoryBars } from './memory-bars.js';
import { PlanForm } from './plan-form.js';
import { answer, changes, chosen, detail, generalError, look, plan, progress, stopPlanning } from './plan-state.js';
import { PlansTable } from './plans-table.js';
import { RankPicture } from './rank-picture.js';
import { Facts, ScriptCheck } from './script-check.js';

export function PlanPage() {
  useEffect(() => {
    if (answer.value === undefined) void plan();
  }, []);
  return (
    <>
      <PlanForm />
      <Going />
      {generalError.value !== undefined && <Complaint error={generalError.value} />}
      <Found />
      <ScriptCheck />
    </>
  );
}

/** How far the search is; it can be ended with the best so far. */
function Going() {
  const now = progress.value;
  if (now === undefined) return null;
  return (
    <div class="bar going" role="status">
      <progress value={now.done} max={1} aria-label="Share of the layouts that are done" />
      <span>{now.bestSeconds === undefined ? 'searching' : `best so far ${formatSeconds(now.bestSeconds)}`}</span>
      <button type="button" onClick={stopPlanning}>
        take the best so far
      </button>
    </div>
  );
}

function Found() {
  const found = answer.value;
  const about = detail.value;
  if (found === undefined) return null;
  const facts = [
    ...(about?.facts ?? []),
    ...(chosen.value === 0 && changes.value !== '' ? [['If', changes.value] as const] : []),
    [
      'Rests on',
      'the closed form of a step, with constants fitted to published runs: nothing is measured here',
    ] as const,
  ].filter(([name]) => name !== 'Ranks');
  return (
    <>
      <PlansTable answer={found} chosen={chosen.value} onChoose={(index) => void look(index)} />
      {about !== undefined && (
        <div class="columns">
          <section class="card" aria-label="Why">
            <h2>{found.lines[chosen.value]?.cells[0]}</h2>
            <Facts facts={facts} />
          </section>
          <div>
            <MemoryBars detail={about} />
            <RankPicture grid={about.grid} />
          </div>
        </div>
      )}
      <ClusterEvidence answer={found} />
      <ExportPanel answer={found} index={chosen.value} />
    </>
  );
}
