/** The plan that is looked at as flags of a framework, to copy or to keep; written when asked for. */
import { type ExportTarget, exportTargets } from '@monta/core';
import { useEffect, useState } from 'preact/hooks';
import { params, setParams } from '../base/location.js';
import { Complaint, Field } from '../base/field.js';
import type { ShownError } from '../base/shown-error.js';
import { ask } from '../worker/client.js';
import type { PlanAnswer } from './answer.js';
import type { ExportAnswer } from './export-answer.js';
import { complaintOf } from './plan-state.js';

const fileNames: Readonly<Record<ExportTarget, string>> = {
  megatron: 'train.sh',
  bridge: 'recipe.py',
  deepspeed: 'deepspeed.json',
  torchtitan: 'train.toml',
  torchrun: 'train.sh',
  slurm: 'train.sbatch',
};

/** Gives the person a file. */
function keep(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

interface ExportPanelProps {
  readonly answer: PlanAnswer;
  readonly index: number;
}

export function ExportPanel({ answer, index }: ExportPanelProps) {
  const to = exportTargets.find((target) => target === params.value.get('export'));
  const [shown, setShown] = useState<ExportAnswer | ShownError | undefined>(undefined);
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    let current = true;
    setCopied(false);
    setShown(undefined);
    if (to === undefined) return undefined;
    ask('export', { index, to }).then(
      (value) => current && setShown(value),
      (error: unknown) => current && setShown(complaintOf(error)),
    );
    return () => {
      current = false;
    };
  }, [answer, index, to]);
  const text = shown !== undefined && 'text' in shown ? shown.text : undefined;
  return (
    <section class="card" aria-label="Export">
      <div class="bar">
        <h2>In a framework's words</h2>
        <Field
          label="framework"
          value={to ?? ''}
          options={[{ value: '', label: 'choose one' }, ...exportTargets.map((value) => ({ value, label: value }))]}
          onChange={(value) => setParams({ export: value })}
        />
        <button
          type="button"
          disabled={text === undefined}
          onClick={() => void navigator.clipboard.writeText(text ?? '').then(() => setCopied(true))}
        >
          {copied ? 'copied' : 'copy'}
        </button>
        <button
          type="button"
          disabled={text === undefined}
          onClick={() => to !== undefined && keep(fileNames[to], text ?? '')}
        >
          download
        </button>
        <button type="button" onClick={() => keep('plan.json', `${JSON.stringify(answer.document, null, 2)}\n`)}>
          plan.json of the best
        </button>
      </div>
      {shown !== undefined && 'message' in shown && <Complaint error={shown} />}
      {text !== undefined && (
        <pre tabIndex={0} aria-label="Flags">
          {text}
        </pre>
      )}
      {shown !== undefined && 'notes' in shown && shown.notes.map((note) => <p key={note}>{note}</p>)}
    </section>
  );
}
