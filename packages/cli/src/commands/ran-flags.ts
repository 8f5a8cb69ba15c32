/** Flags that say what ran, by a plan's file or by the script that started it. */

export interface RanFlags {
  readonly plan?: string;
  readonly script?: readonly string[];
  readonly model?: string;
  readonly env?: readonly string[];
}

/** Flags that say what ran; `script` reads what starts a run. */
export const ranFlags = {
  plan: {
    kind: 'parsed',
    parse: String,
    placeholder: 'plan.json',
    brief: 'What ran, as a plan that monta plan --output wrote',
    optional: true,
  },
  script: {
    kind: 'parsed',
    parse: String,
    placeholder: 'train.sh',
    brief: 'Script, flags or configuration of the run; again for files that it sources',
    optional: true,
    variadic: true,
  },
  model: {
    kind: 'parsed',
    parse: String,
    placeholder: 'name|config.json',
    brief: 'What was trained (default: what the flags describe)',
    optional: true,
  },
} as const;
