/** Files that are dropped on the page, or chosen: read here, sent nowhere. */
import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';

interface DropProps {
  readonly label: string;
  readonly accept?: string;
  readonly onFile: (file: File) => void;
  readonly children?: ComponentChildren;
}

/** A place to drop a file, which also opens the browser's chooser. */
export function DropFile({ label, accept, onFile, children }: DropProps) {
  const chooser = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const take = (files: FileList | null | undefined): void => {
    const file = files?.[0];
    if (file !== undefined) onFile(file);
  };
  return (
    <div
      class={over ? 'drop over' : 'drop'}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer?.files);
      }}
    >
      <button type="button" onClick={() => chooser.current?.click()}>
        {label}
      </button>
      <input
        ref={chooser}
        type="file"
        hidden
        accept={accept}
        aria-label={label}
        onChange={({ currentTarget }) => {
          take(currentTarget.files);
          currentTarget.value = '';
        }}
      />
      {children}
    </div>
  );
}
