/** Launch scripts and measurements, from their texts. */
import { fitCalibration, readMeasurementsCsv, readNcclTests, type Calibration } from '../cost/index.js';
import { checkLaunch, findLaunches, type LaunchPrice } from '../doctor/index.js';
import { architectureOf, lineOf, type Severity } from '../frameworks/index.js';
import { clusterOf, modelOf, type Subject } from './subject.js';

/** A script, and what is known beside it. */
export interface LintQuestion extends Partial<Subject> {
  /** The text of a launch script, a batch script or a configuration. */
  readonly script: string;
  /** Ranks of the job, where the script does not say. */
  readonly gpus?: number;
  /** Texts of files that the script names, by their name: configurations of DeepSpeed or torchtitan. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface LintFinding {
  readonly severity: Severity;
  readonly rule: string;
  readonly message: string;
  /** What happens, and what to do. */
  readonly consequence: string;
  readonly mend: string;
  /** Line of the script, from 1; absent where nothing in it stands for the finding. */
  readonly line?: number;
}

/** One launch of the script. */
export interface LintedLaunch {
  /** Program and degrees. */
  readonly title: string;
  readonly findings: readonly LintFinding[];
  /** Step, memory, changes that would save time, the best plan; or why not. Absent without a cluster, or on errors. */
  readonly price?: LaunchPrice;
}

/**
 * Checks launch flags and configurations of Megatron-LM, Megatron-Bridge, NeMo, DeepSpeed and torchtitan; with a
 * cluster, prices them too. Throws `InputError` where no launch is found.
 *
 * @example
 * const script = 'torchrun --nproc-per-node 8 pretrain_gpt.py --num-experts 8 --expert-model-parallel-size 3';
 * const [launch] = lint({ script, gpus: 8 });
 * console.log(launch.findings.some(({ severity }) => severity === 'error'));
 * // true
 */
export function lint({ script: text, gpus, files = {}, ...subject }: LintQuestion): LintedLaunch[] {
  const file = 'script';
  const { launches } = findLaunches({ file, text });
  const cluster = subject.cluster === undefined ? undefined : clusterOf({ cluster: subject.cluster });
  const architecture = cluster === undefined ? undefined : architectureOf(cluster.device.name);
  const known = {
    variables: {},
    readFile: (path: string) => files[path] ?? (path === file ? text : undefined),
    ...(gpus === undefined ? {} : { gpus }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(subject.model === undefined ? {} : { model: modelOf({ model: subject.model }) }),
  };
  return launches.map((launch) => {
    const { title, findings, price } = checkLaunch(launch, known);
    return {
      title,
      findings: findings.map(({ severity, rule, message, consequence, mend, at }) => ({
        severity,
        rule,
        message,
        consequence,
        mend,
        ...(at === undefined ? {} : { line: lineOf(at).line }),
      })),
      ...(price === undefined ? {} : { price }),
    };
  });
}

/** A file of measurements. */
export interface MeasuredFile {
  /** Names it in messages, and may tell collective and device: `h100_8gpu_alltoall.txt`. */
  readonly name: string;
  readonly text: string;
}

export interface CalibrationResult {
  readonly calibration: Calibration;
  readonly warnings: readonly string[];
}

/**
 * Link curves from measurements: output of nccl-tests, or CSV with op, size_bytes and time_us. `writeCalibration` of
 * `@monta/core/cost` makes the file that `monta plan --calibration` takes. Throws `InputError`.
 *
 * @example
 * const rows = [1, 2, 4, 8].map((mib) => `all_to_all,16,2,H100,${mib * 2 ** 20},${20 + mib * 100}`);
 * const text = ['op,ranks,nodes,gpu,size_bytes,time_us', ...rows].join('\n');
 * const { calibration } = calibrate([{ name: 'links.csv', text }]);
 * console.log(calibration.series[0].op, calibration.series[0].points.length);
 * // all_to_all 4
 */
export function calibrate(files: readonly MeasuredFile[]): CalibrationResult {
  const readings = files.map(({ name, text }) =>
    /^[^\n]*\b(?:size_bytes|time_us)\b/u.test(text) ? readMeasurementsCsv(text, name) : readNcclTests(text, name),
  );
  const { warnings, ...fit } = fitCalibration(readings.flatMap(({ measurements }) => measurements));
  return { calibration: fit.calibration, warnings: [...readings.flatMap((one) => one.warnings), ...warnings] };
}
