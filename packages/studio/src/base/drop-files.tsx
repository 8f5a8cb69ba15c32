/** Files that are dropped on the page, or chosen: read here, sent nowhere. */
import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';

interface DropProps {
  readonly label: string;
  readonly accept?: string;
  /** Several at once may be given, each told by itself. */
  readonly multiple?: boolean;
  readonly onFile: (file: File) => void;
  readonly children?: ComponentChildren;
}

/** A place to drop a file, which also opens the browser's chooser. */
export function DropFile({ label, accept, multiple = false, onFile, children }: DropProps) {
  const chooser = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const take = (files: FileList | null | undefined): void => {
    for (const file of [...(files ?? [])].slice(0, multiple ? undefined : 1)) onFile(file);
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
        multiple={multiple}
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
