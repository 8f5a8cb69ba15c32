/**
 * Megatron-Core's paged stash (`--moe-paged-stash`, megatron/core/transformer/moe/paged_stash.py): experts compute on
 * buffers of the rank's capacity, and what they keep for the backward is copied to pages of 64 rows. The pool of pages
 * is `moe_paged_stash_buffer_size_factor_cuda` (1.1) times what a recorded step kept; what does not fit goes to the
 * host.
 */
import type { Program, Region, Template } from '../schedule/schedule.js';
import type { RowsOf } from './timeline.js';

/** `moe_paged_stash_page_size`. */
const pageRows = 64;

const isRouted = ({ rows }: Region): boolean => typeof rows !== 'number' && rows.rule.routed;
const isStashed = (region: Region): boolean => region.life === 'saved' && isRouted(region);

/** Rows of what is kept: pages for what balanced routing keeps, times the factor. Others as `rowsOf` has them. */
export const pagedRows =
  (rowsOf: RowsOf, factor: number): RowsOf =>
  (size, instance) =>
    typeof size === 'number' || !isStashed(instance.region)
      ? rowsOf(size, instance)
      : pageRows * Math.ceil((size.expected * factor) / pageRows);

/** Beside what lies in pages, a layer at work has it whole, as long as the rank's capacity says. */
function withBuffers(template: Template): Template {
  const stashed = template.regions.filter(isStashed);
  if (stashed.length === 0) return template;
  const ids = new Set(stashed.map(({ id }) => id));
  const operations = template.operations.map((operation) => ({
    ...operation,
    uses: operation.uses.flatMap((use) =>
      ids.has(use.region)
        ? [use, { role: 'unpaged', region: `${use.region}.unpaged`, chunk: 0, of: 1, mode: 'read' as const }]
        : [use],
    ),
  }));
  const buffers = stashed.map((region): Region => ({ ...region, id: `${region.id}.unpaged`, life: 'layer' }));
  return { ...template, operations, regions: [...template.regions, ...buffers] };
}

/** A program whose experts keep their rows in pages: for its lifetimes alone. */
export const withPagedStash = (program: Program): Program => ({
  ...program,
  templates: Object.fromEntries(
    Object.entries(program.templates).map(([name, template]) => [name, withBuffers(template)]),
  ),
});
