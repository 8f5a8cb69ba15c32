/** A drawing of `@monta/views` in the page: its own style sheet is left out, the page's says the same colours. */
import { withoutStyles } from '@monta/views';
import { useEffect, useRef } from 'preact/hooks';

export function Drawing({ svg }: { readonly svg: string }) {
  const holder = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const parsed = new DOMParser().parseFromString(withoutStyles(svg), 'image/svg+xml').documentElement;
    holder.current?.replaceChildren(parsed);
  }, [svg]);
  return <div class="drawing" ref={holder} />;
}
