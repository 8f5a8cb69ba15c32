/** An input with its name, and under it what is wrong with what was typed. */
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import type { ShownError } from './shown-error.js';

/** Where the complaint stands, and what was expected. */
export function Complaint({ error, id }: { readonly error: ShownError; readonly id?: string }) {
  const { message, expected, hint } = error;
  return (
    <p class="complaint" role="alert" id={id}>
      {message}
      {expected !== undefined && <span>expected {expected}</span>}
      {hint !== undefined && <span>{hint}</span>}
    </p>
  );
}

interface FieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly error?: ShownError | undefined;
  readonly placeholder?: string;
  /** Names to choose from; others may be typed. */
  readonly suggestions?: readonly string[];
  /** Nothing else may be chosen; the first stands for nothing given. */
  readonly options?: readonly { readonly value: string; readonly label: string }[];
  readonly children?: ComponentChildren;
}

export function Field({ label, value, onChange, error, placeholder, suggestions, options, children }: FieldProps) {
  const id = useId();
  const described = error === undefined ? {} : { 'aria-invalid': true, 'aria-describedby': `${id}-error` };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {options === undefined ? (
        <input
          id={id}
          value={value}
          placeholder={placeholder}
          autocomplete="off"
          spellcheck={false}
          list={suggestions === undefined ? undefined : `${id}-list`}
          onInput={({ currentTarget }) => onChange(currentTarget.value)}
          {...described}
        />
      ) : (
        <select id={id} value={value} onChange={({ currentTarget }) => onChange(currentTarget.value)} {...described}>
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.label}
            </option>
          ))}
        </select>
      )}
      {suggestions !== undefined && (
        <datalist id={`${id}-list`}>
          {suggestions.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      )}
      {children}
      {error !== undefined && <Complaint error={error} id={`${id}-error`} />}
    </div>
  );
}

interface SliderProps {
  readonly label: string;
  /** Index into `values`. */
  readonly at: number;
  readonly values: readonly (string | number)[];
  /** What is said beside it. */
  readonly shown: string;
  readonly onChange: (at: number) => void;
  readonly error?: ShownError | undefined;
}

/** A slider over listed values. */
export function Slider({ label, at, values, shown, onChange, error }: SliderProps) {
  const id = useId();
  const described = error === undefined ? {} : { 'aria-invalid': true, 'aria-describedby': `${id}-error` };
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{shown}</output>
      <input
        id={id}
        type="range"
        min={0}
        max={values.length - 1}
        step={1}
        value={at}
        aria-valuetext={shown}
        onInput={({ currentTarget }) => onChange(Number(currentTarget.value))}
        {...described}
      />
      {error !== undefined && <Complaint error={error} id={`${id}-error`} />}
    </div>
  );
}
