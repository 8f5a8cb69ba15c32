/**
 * Collectives over every group of a layout, and every way to dispatch one layer after a calibration of links, over
 * NCCL: four ranks as two nodes, on as many cards as there are.
 */
import { formatLayout, parseLayout } from '@monta/core/layout';
import { boundedLauncher, withinTime } from '../../launch/bounded-launcher.js';
import { cardsCluster, cardsHere } from '../../launch/cards.js';
import { ncclLauncher } from '../../launch/launcher.js';
import { benchGroupCollectives, groupCollectives, sizesBetween, type CollectiveTable } from '../group-collectives.js';
import { benchLayerDispatch, namedCase, type ContestFigures } from '../nodes/index.js';

export interface LinksReport {
  readonly cards: number;
  readonly layout: string;
  readonly tables: readonly CollectiveTable[];
  /** That time did not suffice for. */
  readonly tablesNotBegun: number;
  readonly dispatch?: ContestFigures & {
    /** Bytes/s of a rank by tier, and how far predictions deviate, of the calibration. */
    readonly lineRates: readonly number[];
    readonly modelError: number;
    readonly calibrationSeconds: number;
  };
}

const layout = parseLayout('tp=2,dp=2,ep=2');
const ranksPerNode = 2;
const sizes = sizesBetween(2 ** 10, 2 ** 28, 8);
const [rounds, dispatchRounds] = [11, 5];
/** Of the time, for the tables. */
const tablesShare = 0.6;
const layer = { layout, mebibytes: 64, hiddenSize: 4096, experts: 8, topK: 2, chunkCounts: [1, 2, 4] } as const;

/** Measures both; what is there is told as it comes. Where time was over, without the layer. */
export async function measureLinks({
  seconds,
  say,
  onReport,
}: {
  readonly seconds: number;
  readonly say: (text: string) => void;
  readonly onReport: (report: LinksReport) => void;
}): Promise<LinksReport> {
  const begun = performance.now();
  const end = begun + seconds * 1e3;
  const launcher = boundedLauncher(ncclLauncher({ ranksPerNode }), { end, stuckAfterSeconds: 60 });
  const tables: CollectiveTable[] = [];
  let report: LinksReport = { cards: cardsHere(), layout: formatLayout(layout), tables, tablesNotBegun: 0 };
  const tablesNotBegun = await benchGroupCollectives({
    launcher,
    layout: { ...layout, ranksPerNode },
    ops: groupCollectives,
    sizes,
    rounds,
    seconds: tablesShare * seconds,
    onTable: (table) => {
      tables.push(table);
      const last = table.rows.at(-1);
      say(`${table.op} over ${table.kind}: ${last?.bytes} bytes in ${((last?.seconds ?? NaN) * 1e3).toFixed(2)} ms`);
      onReport({ ...report, tables: [...tables] });
    },
  });
  report = { ...report, tablesNotBegun };
  onReport(report);
  if (performance.now() > end) return report;
  let dispatch: LinksReport['dispatch'];
  const measured = benchLayerDispatch({
    launcher,
    cluster: cardsCluster(4, ranksPerNode),
    named: namedCase(layer, 'bf16'),
    rounds: dispatchRounds,
    onPhase: say,
  }).then(({ ground, figures }) => {
    const { lineRates, modelError, seconds: calibrationSeconds } = ground;
    dispatch = { ...figures, lineRates, modelError, calibrationSeconds };
  });
  // Where time was over the page says that the layer was cut off.
  if (!(await withinTime(measured))) say('the layer: time was over');
  return { ...report, ...(dispatch === undefined ? {} : { dispatch }) };
}
