/** Overrides of Megatron-Bridge and NeMo as settings of Megatron's fields. */
import { lastName, sectionOf, type Assignment } from '../assigned/assignment.js';
import { argumentSection } from '../assigned/read-python.js';
import type { Finding } from '../finding.js';
import type { Flag } from '../flag.js';
import { megatronFlags, renamedMegatronFlags } from '../megatron/flags.js';
import type { Setting, Settings, SettingValue } from '../megatron/settings.js';
import { editDistance } from '../../units/nearest.js';
import { checkedSections, opposites, otherNames, overlapNames, ownFields, precisionRecipes } from './fields.js';

export const bridgeSource = 'Megatron-Bridge 067f987d (0.6.2), on Megatron-LM d98e8a64';

export interface BridgeSettings extends Settings {
  /** Ranks that the trainer is told of (NeMo's devices times nodes); undefined where it is not. */
  readonly ranks: number | undefined;
}

const fieldOf = (name: string): string => otherNames[name] ?? name;

/** The value as the field of a flag holds it; undefined for one that it can't be. */
function settingValue({ kind, several }: Flag, value: unknown): SettingValue | undefined {
  if (kind === 'on' || kind === 'off' || kind === 'onoff') return typeof value === 'boolean' ? value : undefined;
  if (several) return (Array.isArray(value) ? value : [value]).map(String);
  if (kind === 'integer' || kind === 'number') {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
  }
  if (Array.isArray(value)) return textOfList(value);
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

/** A pipeline's layout as lists of names is the string that Megatron makes of it; other lists are zeros and ones. */
function textOfList(list: readonly unknown[]): string {
  const letters: Readonly<Record<string, string>> = { embedding: 'E', decoder: 't', mtp: 'm', loss: 'L' };
  return list.every((stage): stage is readonly unknown[] => Array.isArray(stage))
    ? list.map((stage) => stage.map((one) => letters[String(one)] ?? String(one)).join('')).join('|')
    : `[${list.join(',')}]`;
}

const kindText = ({ kind, several, choices }: Flag): string => {
  if (kind === 'on' || kind === 'off' || kind === 'onoff') return 'true or false';
  if (choices !== undefined) return `one of ${choices.join(', ')}`;
  return several ? 'a list' : kind === 'integer' ? 'a whole number' : kind === 'number' ? 'a number' : 'text';
};

/** Sections of programs that train by rollouts (verl): what serves the rollouts has fields of the same names. */
const ofInference = /(?:^|\.)(?:rollout|engine_kwargs|vllm|sglang)\./u;

class Reader {
  readonly fields = new Map<string, Setting>();
  readonly nothing = new Set<string>();
  readonly findings: Finding[] = [];
  #devices: number | undefined;
  #nodes: number | undefined;

  get ranks(): number | undefined {
    return this.#devices === undefined || this.#nodes === undefined ? undefined : this.#devices * this.#nodes;
  }

  read(assignment: Assignment): void {
    const { key, value } = assignment;
    if (ofInference.test(key)) return;
    const name = lastName(key);
    if (sectionOf(key) === 'trainer' && typeof value === 'number') {
      if (name === 'devices') this.#devices = value;
      if (name === 'num_nodes') this.#nodes = value;
    }
    if (name === 'mixed_precision' || (name === 'precision' && sectionOf(key) === 'trainer'))
      this.#precision(assignment);
    else if (opposites[name] !== undefined) this.#opposite(assignment, opposites[name]);
    else this.#field(assignment, fieldOf(name));
  }

  #precision({ value, at }: Assignment): void {
    const recipe = typeof value === 'string' ? precisionRecipes[value] : undefined;
    for (const [field, known] of Object.entries(recipe ?? {})) this.fields.set(field, { value: known, at });
  }

  #opposite({ value, at }: Assignment, field: string): void {
    this.fields.set(field, { value: typeof value === 'boolean' ? !value : undefined, at });
  }

  #field(assignment: Assignment, field: string): void {
    const { key, value, at } = assignment;
    const flag = megatronFlags.findField(field);
    if (flag === undefined && !ownFields.includes(field)) {
      this.#unknown(assignment);
      return;
    }
    const renamed = renamedMegatronFlags[`--${field.replaceAll('_', '-')}`];
    if (renamed !== undefined && value !== null) this.#renamed(assignment, renamed.now);
    this.fields.delete(field);
    if (value === null) {
      this.nothing.add(field);
      return;
    }
    if (value === undefined || flag === undefined) {
      this.fields.set(field, { value: typeof value === 'number' ? value : undefined, at });
      return;
    }
    const read = settingValue(flag, value);
    // An argument of any call may bear the name of a field by chance.
    if (read === undefined || outOfChoice(flag, read)) {
      if (sectionOf(key) !== argumentSection) this.#wrong(assignment, flag);
    } else this.fields.set(field, { value: read, at });
  }

  #wrong({ key, value, at }: Assignment, flag: Flag): void {
    this.findings.push({
      severity: 'error',
      rule: 'override-value',
      flags: [key],
      message: `${key}=${JSON.stringify(value)} is not ${kindText(flag)}`,
      consequence: 'the configuration is refused',
      mend: 'give it the value that it takes',
      source: bridgeSource,
      at,
    });
  }

  #renamed({ key, at }: Assignment, now: string): void {
    this.findings.push({
      severity: 'changed',
      rule: 'renamed-override',
      flags: [key],
      message: `${key} is of an older version`,
      consequence: 'it is still taken, with a warning',
      mend: `write ${now}`,
      source: bridgeSource,
      at,
    });
  }

  /** Only the near misses of known names: a recipe has fields that Megatron-LM has no flag of. */
  #unknown({ key, at }: Assignment): void {
    const [section, name] = [sectionOf(key), lastName(key)];
    if (!checkedSections.includes(section)) return;
    const near = section === 'comm_overlap' ? nearMiss(name, overlapNames, Infinity) : nearMiss(name, knownNames(), 2);
    // a shorter name of another program's, as verl's model.lora_rank
    if (near?.endsWith(`_${name}`) === true) return;
    if (near === undefined || (section === 'comm_overlap' && overlapNames.includes(name))) return;
    this.findings.push({
      severity: 'error',
      rule: 'unknown-override',
      flags: [key],
      message: `${key} is no field of ${section}`,
      consequence: 'the override is refused',
      mend: `did you mean ${key.slice(0, key.length - name.length)}${near}?`,
      source: bridgeSource,
      at,
    });
  }
}

const outOfChoice = ({ choices }: Flag, value: SettingValue): boolean =>
  choices !== undefined &&
  (Array.isArray(value) ? (value as readonly string[]) : [String(value)]).some((one) => !choices.includes(one));

let names: readonly string[] | undefined;
const knownNames = (): readonly string[] =>
  (names ??= [...megatronFlags.flags.map(({ field }) => field), ...Object.keys(otherNames), ...overlapNames]);

/** The known name that differs by `most` letters at most, where the name is not short. */
function nearMiss(name: string, among: readonly string[], most: number): string | undefined {
  if (name.length < 6) return undefined;
  const near = among
    .filter((one) => Math.abs(one.length - name.length) <= Math.min(most, name.length))
    .map((one) => ({ one, distance: editDistance(name, one) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return near === undefined || near.distance > most ? undefined : near.one;
}

/** Where a recipe says nothing of the precision, it is bf16_mixed. */
function withPrecision(reader: Reader, [first]: readonly Assignment[]): void {
  if (first === undefined || reader.fields.has('bf16') || reader.fields.has('fp16')) return;
  reader.fields.set('bf16', { value: true, at: { ...first.at, text: 'mixed_precision' } });
}

/** Fields that overrides set, in their order: the last counts. What is wrong with one of them is a finding. */
export function readOverrides(assignments: readonly Assignment[]): BridgeSettings {
  const reader = new Reader();
  for (const assignment of assignments) reader.read(assignment);
  withPrecision(reader, assignments);
  const { fields, nothing, findings, ranks } = reader;
  return { fields, nothing, findings, ranks };
}

/** Whether assignments are of Megatron-Bridge or NeMo: two fields of Megatron's at least. */
export const looksLikeOverrides = (assignments: readonly Assignment[]): boolean =>
  new Set(
    assignments
      .map(({ key }) => fieldOf(lastName(key)))
      .filter((field) => megatronFlags.findField(field) !== undefined),
  ).size >= 2;
