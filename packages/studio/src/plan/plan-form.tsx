/** What is planned: model, cluster, workload, bounds. Every change is in the address. */
import { clusterPresets, computePrecisions, frameworkNames, modelPresets } from '@monta/core';
import { DropFile } from '../base/drop-files.js';
import { Field } from '../base/field.js';
import { setParams } from '../base/location.js';
import {
  addLog,
  asksForNodes,
  errorOf,
  fields,
  type FieldName,
  files,
  plan,
  removeLog,
  setFile,
} from './plan-state.js';
import { boundedAxes } from './question.js';

const models = [...modelPresets.keys()];
const clusters = [...clusterPresets.keys()];

/** Typing pauses for so long before a search begins, milliseconds. */
const pause = 350;
let planned: ReturnType<typeof setTimeout> | undefined;

function planSoon(): void {
  clearTimeout(planned);
  planned = setTimeout(() => void plan(), pause);
}

function change(name: FieldName, value: string): void {
  setParams({ [name]: value });
  planSoon();
}

interface SubjectProps {
  readonly kind: 'model' | 'cluster';
  readonly names: readonly string[];
  readonly what: string;
  readonly accept: string;
}

/** What nccl-tests print above their columns. */
const looksLog = (text: string): boolean => /\bbusbw\b|"busbw"|nccl-tests/iu.test(text);

/** A preset by its name, or a file in its place. */
function Subject({ kind, names, what, accept }: SubjectProps) {
  const file = files.value[kind];
  const error = errorOf(kind);
  const drop = async ({ name, text }: { name: string; text: Promise<string> }): Promise<void> => {
    const dropped = { name, text: await text };
    if (kind === 'cluster' && looksLog(dropped.text)) addLog(dropped);
    else setFile(kind, dropped);
    planSoon();
  };
  return (
    <Field
      label={kind}
      value={file === undefined ? fields.value[kind] : file.name}
      suggestions={names}
      error={error}
      onChange={(value) => {
        setFile(kind, undefined);
        change(kind, value);
      }}
    >
      <DropFile
        label={what}
        accept={accept}
        multiple={kind === 'cluster'}
        onFile={(dropped) => void drop({ name: dropped.name, text: dropped.text() })}
      />
      {kind === 'cluster' && <Logs />}
    </Field>
  );
}

/** Logs of nccl-tests that were dropped; each can be taken away again. */
function Logs() {
  const { logs = [] } = files.value;
  return (
    <>
      {logs.map(({ name }) => (
        <p key={name} class="dropped">
          {name}{' '}
          <button
            type="button"
            onClick={() => {
              removeLog(name);
              planSoon();
            }}
          >
            remove
          </button>
        </p>
      ))}
    </>
  );
}

interface TextProps {
  readonly name: FieldName;
  readonly label: string;
  readonly placeholder: string;
}

const Text = ({ name, label, placeholder }: TextProps) => (
  <Field
    label={label}
    value={fields.value[name]}
    placeholder={placeholder}
    error={errorOf(name)}
    onChange={(value) => change(name, value)}
  />
);

interface ChoiceProps {
  readonly name: FieldName;
  readonly label: string;
  readonly none: string;
  readonly values: readonly string[];
}

const Choice = ({ name, label, none, values }: ChoiceProps) => (
  <Field
    label={label}
    value={fields.value[name]}
    error={errorOf(name)}
    options={[{ value: '', label: none }, ...values.map((value) => ({ value, label: value }))]}
    onChange={(value) => change(name, value)}
  />
);

export function PlanForm() {
  return (
    <form class="card form" aria-label="What is planned" onSubmit={(event) => event.preventDefault()}>
      <Subject kind="model" names={models} what="or a config.json" accept=".json,.yaml,.yml" />
      <Subject
        kind="cluster"
        names={clusters}
        what="or a cluster.yaml, a topology, logs of nccl-tests"
        accept=".yaml,.yml,.json,.xml,.txt,.log,.out"
      />
      {asksForNodes.value && (
        <>
          <Text name="nodes" label="nodes" placeholder="1 such node" />
          <Text name="gpu" label="GPU" placeholder="as the file says, or h100" />
        </>
      )}
      <Text name="sequence" label="sequence" placeholder="4096 tokens" />
      <Text name="batch" label="global batch" placeholder="sequences of a step" />
      <Choice name="framework" label="framework" none="whatever is priced" values={frameworkNames} />
      <Choice
        name="precision"
        label="precision"
        none="bf16"
        values={computePrecisions.filter((one) => one !== 'bf16')}
      />
      <details open={boundedAxes.some((axis) => fields.value[axis] !== '')}>
        <summary>Bounds</summary>
        <div class="bounds">
          {boundedAxes.map((axis) => (
            <Text key={axis} name={axis} label={axis} placeholder="any, 8, 1..8" />
          ))}
        </div>
      </details>
    </form>
  );
}
