/**
 * Writes docs/json.md from the sources: what every command prints with `--json`, key by key, with types, units and
 * comments as the code has them. `npm run docs:json`; with `--check` it only says whether the page is as it would be.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from '../node_modules/prettier/index.mjs';
import { Node, Project, SyntaxKind } from 'ts-morph';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = `${root}docs/json.md`;
const project = new Project({ tsConfigFilePath: `${root}packages/cli/tsconfig.json` });

/** Files that print JSON, in the page's order, with the command lines that come there. */
const commands = {
  plan: 'plan, with a layout',
  'plan-search': 'plan, without a layout',
  explain: 'explain',
  compare: 'compare',
  memory: 'memory',
  simulate: 'simulate',
  'train-run': 'train',
  verify: 'verify',
  'bench-dispatch': 'bench dispatch',
  'bench-layer': 'bench layer',
  'bench-collectives': 'bench collectives',
  'finished-calibration': 'calibrate',
  validate: 'validate',
  'validate-runs': 'validate, of whole runs',
  cluster: 'cluster',
  model: 'model',
  inspect: 'inspect',
  convert: 'convert',
  lint: 'lint',
  doctor: 'doctor',
  trace: 'trace',
  export: 'export',
};

/** Of one command several documents: what tells them apart, in the order of the source. */
const cases = {
  'bench-dispatch': ['`--backend nccl`', 'threads or MPI'],
  cluster: ['no cluster named: an array', 'a cluster'],
  model: ['no model named: an array', 'a model'],
};

const oneLine = (text) => text.replaceAll(/\s+/gu, ' ').trim();
const cell = (text) => oneLine(text).replaceAll('|', String.raw`\|`);

/** Units by the ends of names; without any of them a number is a count or a ratio, as its comment says. */
const units = [
  [/bytesPerSecond|bandwidth$/iu, 'bytes/s'],
  [/flopsPerSecond|flops(?:Rate)$/iu, 'FLOP/s'],
  [/tokensPerSecond/iu, 'tokens/s'],
  [/seconds(?:Spread|PerStep)?$|^seconds|^(?:start|end|ready|issued)$/iu, 's'],
  [/bytes$/iu, 'bytes'],
  [/flops$/iu, 'FLOP'],
  [/(?:share|efficiency|error|confidence)$/iu, '1'],
];
const unitOf = (name) => units.find(([pattern]) => pattern.test(name))?.[1] ?? '';

/** What a comment at the declaration says. */
function commentOf(declaration) {
  const holder = Node.isVariableDeclaration(declaration) ? declaration.getVariableStatement() : declaration;
  return oneLine(holder?.getJsDocs?.().at(-1)?.getDescription() ?? '');
}

/** What the value of a literal's property is said to be where it comes from: `totalBytes: memory.totalBytes`. */
function commentOfSource(declaration) {
  const value = Node.isShorthandPropertyAssignment(declaration)
    ? declaration.getNameNode()
    : Node.isPropertyAssignment(declaration)
      ? declaration.getInitializer()
      : undefined;
  if (value === undefined) return '';
  const symbol = Node.isShorthandPropertyAssignment(declaration)
    ? declaration.getValueSymbol()
    : Node.isPropertyAccessExpression(value)
      ? value.getNameNode().getSymbol()
      : value.getSymbol();
  for (const source of symbol?.getDeclarations() ?? []) {
    // A name taken apart has the comment of the field.
    const from = Node.isBindingElement(source)
      ? source
          .getParent()
          .getType()
          .getProperty(source.getPropertyNameNode()?.getText() ?? source.getName())
      : undefined;
    for (const one of from?.getDeclarations() ?? [source]) {
      const said = commentOf(one);
      if (said !== '' && !Node.isFunctionDeclaration(one)) return said;
    }
  }
  return '';
}

/** Types with a name of their own, which have a section each. */
const shared = new Map();

/** The name of an object type that is declared as an interface or alias, where it is one of ours. */
function nameOf(type) {
  const symbol = type.getAliasSymbol() ?? type.getSymbol();
  const name = symbol?.getName();
  if (name === undefined || name.startsWith('__')) return undefined;
  const ours = symbol.getDeclarations().some((one) => {
    const file = one.getSourceFile().getFilePath();
    return (
      file.startsWith(`${root}packages/`) && (Node.isInterfaceDeclaration(one) || Node.isTypeAliasDeclaration(one))
    );
  });
  return ours && type.getTypeArguments().length === 0 && type.getAliasTypeArguments().length === 0 ? name : undefined;
}

const isObject = (type) => type.isObject() && !type.isArray() && !type.isReadonlyArray() && !type.isTuple();
const elementOf = (type) => type.getArrayElementType() ?? type.getNumberIndexType();
/** What JSON makes of types of the language: typed arrays become objects, maps nothing that says anything. */
function builtIn(type, at) {
  const name = type.getSymbol()?.getName() ?? '';
  if (/^(?:Float|Int|Uint)\d+Array$/u.test(name)) return 'object of number, by index';
  if (name === 'Date') return 'string (ISO 8601)';
  if (/^(?:Readonly)?(?:Map|Set)$/u.test(name)) throw new Error(`JSON of a ${name} is empty: ${at.getText()}`);
  return undefined;
}

/** Absent and null are said once. */
function parts(type) {
  const all = type.isUnion() && !type.isBoolean() ? type.getUnionTypes() : [type];
  const kept = all.filter((one) => !one.isUndefined() && !one.isNull());
  return { kept, orNull: all.some((one) => one.isNull()), absent: all.some((one) => one.isUndefined()) };
}

/** `number` and its like; what has no keys says nothing. */
function plainText(type, at) {
  const text = oneLine(type.getText(at));
  if (text === 'object') throw new Error(`an object without keys: ${at.getText()}`);
  return text;
}

/** The document of a plan, which has a schema. */
const isPlan = (type) => ['kind', 'runnersUp', 'search'].every((key) => type.getProperty(key) !== undefined);

/** A type in words of JSON; object types that have a name become links. `inner` gets those without. */
function describe(type, at, inner) {
  const { kept, orNull } = parts(type);
  const texts = new Set();
  const booleans = kept.filter((one) => one.isBooleanLiteral());
  for (const one of kept) {
    if (booleans.length === 2 && one.isBooleanLiteral()) texts.add('boolean');
    else if (one.isArray() || one.isReadonlyArray()) {
      const of = describe(elementOf(one), at, (object) => inner(object, '[]'));
      texts.add(/ or /u.test(of) ? `array of (${of})` : `array of ${of}`);
    } else if (one.isTuple()) {
      const of = one.getTupleElements().map((element) => describe(element, at, (object) => inner(object, '[]')));
      texts.add(`[${of.join(', ')}]`);
    } else if (builtIn(one, at) !== undefined) texts.add(builtIn(one, at));
    else if (isPlan(one)) texts.add('[plan](#plan-without-a-layout)');
    else if (isObject(one)) {
      const name = nameOf(one);
      const index = one.getStringIndexType();
      if (name !== undefined) {
        shared.set(name, one);
        texts.add(`[${name}](#${name.toLowerCase()})`);
      } else if (index?.isUnknown() === true) texts.add('object of values of any kind');
      else if (index !== undefined && one.getProperties().length === 0)
        texts.add(`object of ${describe(index, at, (object) => inner(object, '.*'))}`);
      else {
        texts.add('object');
        inner(one, '');
      }
    } else if (one.isStringLiteral() || one.isNumberLiteral() || one.isBooleanLiteral())
      texts.add(`\`${one.getText(at)}\``);
    else if (one.isIntersection()) {
      texts.add('object');
      inner(one, '');
    } else texts.add(plainText(one, at));
  }
  // The compiler's order of a union changes with code elsewhere.
  return [...[...texts].sort((a, b) => a.localeCompare(b, 'en')), ...(orNull ? ['null'] : [])].join(' or ');
}

/** What a name means wherever it stands, for fields that need no comment where the code has none. */
const common = {
  assumptions: 'What was assumed of variables that the script does not set.',
  at: 'Where: file and line.',
  attentionHeads: 'Query heads.',
  auxLossCoefficient: 'Of the load-balancing loss.',
  backend: 'Where ranks run: `local`, `mpi` or `nccl`.',
  backward: 'Backward pass.',
  baseline: '`duplicated`, everywhere.',
  basis: 'What the figure rests on.',
  best: 'The fastest.',
  bestFixed: 'The fastest strategy that does not depend on the layer.',
  bytesPerRank: 'By rank.',
  calibration: 'The calibration file given; null without one.',
  candidates: 'All that were priced.',
  capacityBytes: 'Of the device.',
  capacityFactor: 'Rows an expert takes over the even share; null: no limit.',
  changes: 'What a change of setting saves.',
  chunks: 'Pieces that an exchange is cut into.',
  cluster: 'Name of the cluster.',
  consequence: 'What follows from it.',
  details: 'Every row that was judged.',
  device: 'What ranks compute on.',
  devices: 'How many devices.',
  differences: 'What the plans differ in.',
  dispatch: 'Dispatcher, as `--dispatch` takes it.',
  dp: 'Data-parallel degree.',
  dtype: 'Type of elements.',
  ep: 'Expert-parallel degree.',
  etp: 'Tensor-parallel degree of experts.',
  expectedError: 'Likely relative error of the figure.',
  experts: 'How many experts.',
  exponent: 'Of the law: 0 is even.',
  family: 'Family of architectures.',
  file: 'The file that was read.',
  findings: 'What is wrong or doubtful, worst first.',
  fits: 'Whether it fits.',
  flips: 'What would change the answer; null with `--no-flips`.',
  folder: 'The folder that was read.',
  forward: 'Forward pass.',
  groups: 'How many groups.',
  headDim: 'Elements of a head.',
  held: 'What holds the critical path up.',
  hiddenSize: 'Elements of a token between layers.',
  host: 'Name of the host.',
  inputs: 'What the prices rest on, as shown to people.',
  keyValueHeads: 'Heads of keys and values.',
  kind: 'Which of the forms it is.',
  lane: 'The queue it runs on.',
  lanes: 'Busy and exposed time by queue.',
  launches: 'One for each launch in the script.',
  layers: 'How many layers.',
  layersShown: 'Layers of the timeline; null where it is one layer.',
  layout: 'Parallel degrees, as `--layout` takes them.',
  leftOut: 'What the model leaves out.',
  library: 'What moved the bytes.',
  line: 'From 1.',
  margins: 'How far ahead it is.',
  measured: 'As measured.',
  measuredSeconds: 'As measured.',
  memory: 'Whether it fits, and what it takes.',
  memoryBytes: 'Of the fullest device.',
  mend: 'What to do about it.',
  message: 'In words.',
  microBatches: 'Micro-batches of a step of a replica.',
  model: 'Name of the model.',
  naiveP90AbsoluteError: 'The same for the datasheet alone.',
  name: 'Its name.',
  nodes: 'How many nodes.',
  notes: 'What is worth knowing beside the answer.',
  numa: 'NUMA domain.',
  of: 'What it is of.',
  op: 'The collective.',
  operations: 'Operations of the timeline.',
  output: 'The file that was written.',
  p90AbsoluteError: '90th percentile of absolute relative errors.',
  parameters: 'How many parameters.',
  parts: 'What it is made of.',
  passed: 'Whether all are within tolerance.',
  payload: 'Type that rows travel in; null: as computed.',
  pipeline: 'Of a step in stages; null without any.',
  plots: 'Drawings that were written.',
  ports: 'What every port carried.',
  pp: 'Pipeline stages.',
  predicted: 'As predicted.',
  predictedBytes: 'As predicted.',
  price: 'What a step takes; null without a cluster.',
  rank: 'Global rank.',
  ranks: 'How many ranks.',
  reason: 'Why.',
  reasons: 'Why the best is the best.',
  resource: 'Link, port or processor.',
  results: 'One for each dispatcher.',
  rmsNormEps: 'Added to the variance.',
  ropeTheta: 'Base of rotary embeddings.',
  routing: 'How tokens spread over experts.',
  rows: 'How many rows.',
  rule: 'Name of the rule.',
  runnerUp: 'The next after the best.',
  schedule: 'Order of passes in the pipeline.',
  scope: 'What the seconds are of.',
  scoring: 'How router scores become weights.',
  seconds: 'How long it takes.',
  seed: 'Of what is drawn at random.',
  sensitivities: 'What a change of input does to the step.',
  sequence: 'Tokens of one sequence.',
  series: 'Curves that were fitted.',
  seriesInFile: 'Curves that the file has now.',
  severity: '`error`: the job would stop.',
  sharing: 'What ranks share of weights, gradients and moments.',
  source: 'Where it was read.',
  speed: 'Speed of the second over the first.',
  stack: 'Software that prices assume.',
  stage: 'Pipeline stage.',
  stages: 'By pipeline stage.',
  strategy: 'Dispatch and combine half, with chunks.',
  template: 'Kind of node: which pass of which kind of layer.',
  text: 'In words.',
  tieEmbeddings: 'Whether the output layer is the embedding.',
  tier: 'Level of the network, from the inside.',
  tiers: 'Levels of the network, from the inside out.',
  tokens: 'How many tokens.',
  tokensPerSecond: 'Of the whole job.',
  totalBytes: 'Of a device, all parts.',
  tp: 'Tensor-parallel degree.',
  type: 'Its type.',
  part: 'Where devices are idle, what of the cluster the layout occupies; null: all of it.',
  unpriced: 'What could not be priced, and why.',
  updateSeconds: 'Optimizer update.',
  version: 'Version of the form.',
  virtualStages: 'Stages of a rank.',
  vocabSize: 'Tokens of the vocabulary.',
  warnings: 'What may make the answer mean less than it seems.',
  wholeStep: 'The step of all layers; null where one layer was asked for.',
  why: 'In words.',
  window: 'Attention that looks back so far only.',
};

/** What a key means in a section, or under an object, where the code writes it without a declaration. */
const meanings = {
  'ClampedSwiglu: alpha': 'Factor inside the sigmoid.',
  'ClampedSwiglu: limit': 'Bound of gates, and of ups on both sides.',
  'LaneSeconds: compute': 'Other kernels, s.',
  'LaneSeconds: copy': 'Kernels that move rows, s.',
  'LaneSeconds: inter': "Experts' exchanges and sums over replicas, s.",
  'LaneSeconds: intra': 'Collectives of tensor parallelism, s.',
  'LaneSeconds: shared': 'Kernels of shared experts, s.',
  'LayerMeasurement: monta': "Monta's ways.",
  'LayerMeasurement: peers': 'Other programs, for the same layer.',
  'LayerMeasurement: shape': 'The layer that was measured.',
  'PassFigure: boundSeconds': 'Bytes of the busiest port over its line rate.',
  'PassFigure: medianSeconds': 'Median of `seconds`.',
  'PassFigure: pass': 'Which pass of the layer.',
  'PieceTime: piece': 'Part of the layer.',
  'RunReport: cluster.summary': 'In words.',
  'RankPlace: pid': 'Of the process.',
  'TraceComparison: best': 'The fastest plan of the framework, predicted; null where none was found.',
  'TraceComparison: best.gain': 'Share of the predicted step that it saves.',
  'TraceComparison: changes[].flags': 'What would be set.',
  'TraceComparison: changes[].gain': 'Share of the predicted step that it saves.',
  'WayFigure: label': 'The way, as shown to people.',
  'WayMeasurement: choices': 'What was chosen for each part of it.',
  'WayMeasurement: error': 'Why it did not run.',
  'WayMeasurement: peakBytes': 'The most that it held on the card.',
  'WayMeasurement: pieces': 'Where its time goes.',
  'WayMeasurement: runs': 'All runs, milliseconds a step.',
  'bench collectives: ranks': 'Where each rank ran.',
  'bench collectives: rounds': 'How often each size was timed.',
  'bench collectives: tables': 'One for each collective and group.',
  'bench collectives: tablesNotBegun': 'Tables for which time was over.',
  'bench dispatch: calibrationSeconds': 'What calibrating links before took.',
  'bench dispatch: duplicated': '`duplicated`, for comparison.',
  'bench dispatch: passes': 'Every way, forward and backward.',
  'bench dispatch: plan': 'What predictions take together with trials of close ways.',
  'bench dispatch: subject': 'Name of the layer.',
  'cluster: grounds': 'What each level of the network rests on.',
  'cluster: topology': 'The file of the node, as it was read.',
  'compare: differences.asked': 'In what was asked for.',
  'compare: differences.chosen': 'In what was chosen.',
  'compare: plans': 'Both plans, as priced here.',
  'doctor: allToAll': 'The exchange of the log; null without one.',
  'doctor: outOfMemory': 'One for each message of the logs.',
  'doctor: outOfMemory[].imbalance':
    'Rows of the fullest rank over the mean at which the prediction reaches the message; null where none does.',
  'doctor: speed': 'Why the run takes what it takes; null where no speed is known.',
  'export: text': 'The file, as it is to be written.',
  'export: to': 'The framework.',
  'lint: assumptions[].text': 'The variable and what it was taken for.',
  'memory: partialLayers': 'Layers whose passes are not computed whole, so that their activations are a lower bound.',
  'model: flopsConvention': 'What of attention and router counts.',
  'model: forwardFlopsPerToken': 'FLOPs of one token by part, summed over layers.',
  'model: trainingFlopsPerToken': 'FLOPs of one token in training: three times the forward pass.',
  'plan, with a layout: best.overlap.chunks':
    "Whether stages of a chunk's exchange run beside those of its neighbours.",
  'plan, with a layout: best.overlap.experts': "Whether a chunk's expert products run beside exchanges of others.",
  'plan, with a layout: best.overlap.shared': 'Whether exchanges run beside shared experts.',
  'plan, with a layout: best.overlap.weightGradients':
    "Whether the experts' weight gradients run beside the way back of their inputs' gradients.",
  'plan, with a layout: calibrationCoverage':
    "What the calibration says of the layout's collectives; null without a calibration.",
  'plan, with a layout: overlap': 'What each kind of overlap is worth.',
  'plan, with a layout: step': 'The training step, with the best and with those beside it.',
  'simulate: path': 'The critical path.',
  'trace: compared': 'The recorded step beside the predicted one.',
  'validate: details[].naiveError': 'Relative error of the datasheet alone; null where it says nothing.',
  'validate: details[].predictedSeconds': 'By the calibration.',
  'validate: details[].restsOn': 'Curves that were used.',
  'validate: unpricedRows': 'Rows without a prediction.',
  'validate, of whole runs: pairs.compared': 'How many.',
  'validate, of whole runs: pairs.right': 'How many of them the estimate orders as measured.',
  'validate, of whole runs: spearman[].gpu': 'The GPU.',
  'validate, of whole runs: spearman[].value': 'From -1 to 1: 1 is the same order.',
  'verify: results[].dispatcher': 'Dispatcher, as `--dispatch` takes it.',
  'coverage.from': 'Curves that it is carried from.',
  'coverage.series': 'The curve.',
  'coverage.sources': 'Files, with lines.',
  'causes[].cause': 'What explains it.',
  'details[].id': "Of the row, by the table's column `id`.",
  'expertLoad[].experts': 'By expert, then by span of steps: 1 is balanced.',
  'files[].path': 'From the report.',
  'files[].purpose': 'What it is for.',
  'flopsPerSecond.bf16': 'Bfloat16.',
  'flopsPerSecond.f32': 'Float32.',
  'flopsPerSecond.fp8': 'Of 8 bits.',
  'findings[].column': 'From 1.',
  'nvlinks.between': 'Links between GPU a and GPU b: `between[a][b]`.',
  'nvlinks.links': 'Of each GPU into the switch.',
  'resource.port': 'Index of the port.',
  'ropeScaling.attentionFactor': 'Factor on cosines and sines.',
  'ropeScaling.betaFast': 'Turns over the first training above which frequencies are kept.',
  'ropeScaling.betaSlow': 'Turns over the first training below which frequencies are divided.',
  'ropeScaling.factor': 'What frequencies are divided by.',
  'ropeScaling.highFactor': 'Turns over the first training above which frequencies are kept.',
  'ropeScaling.lowFactor': 'Turns over the first training below which frequencies are divided.',
  'ropeScaling.originalPositions': 'Tokens of a sequence in the first training.',
  'series[].extrapolationErrorAbove': 'Likely relative error above `largestBytes`.',
  'series[].extrapolationErrorBelow': 'Likely relative error below `smallestBytes`.',
  'series[].largestBytes': 'Largest size measured.',
  'series[].leftOut': 'Rows that lie off the curve and are no part of it.',
  'series[].points': 'Sizes that the curve has.',
  'series[].smallestBytes': 'Smallest size measured.',
  'steady[].figure': 'The figure.',
  'steady[].tried': 'Its values.',
  'tables[].group': 'Kind of the group.',
  'tables[].rows': 'One for each size.',
  'tables[].rows[].algorithmBytesPerSecond': 'Bytes of the buffer over the time.',
  'tables[].rows[].busBytesPerSecond': 'The same as nccl-tests counts bus bandwidth.',
  'tensors[].shape': 'Elements along each dimension.',
  'unpriced[].id': "Of the row, by the table's column `id`.",
};

/** The meaning of a key by itself, or by its last parts. */
function meaningOf(section, path) {
  const parts = path.split('.');
  const tails = parts.map((_, from) => parts.slice(from).join('.'));
  const name = parts.at(-1);
  const key = [`${section}: ${path}`, ...tails.filter((tail) => tail !== name)].find((one) => one in meanings);
  if (key === undefined) return common[name] ?? '';
  unused.delete(key);
  return meanings[key];
}

/** Keys without a meaning, and meanings without a key: a page has neither. */
const unexplained = new Set();
const unused = new Set(Object.keys(meanings));
/** Meanings of a plan's keys, from its schema. */
function schemaMeanings(schema, prefix = '') {
  const here = schema.anyOf?.find((one) => one.properties ?? one.items) ?? schema;
  const own = Object.entries(here.properties ?? {}).flatMap(([key, one]) => [
    [`${prefix}${key}`, one.description ?? ''],
    ...schemaMeanings(one, `${prefix}${key}.`),
  ]);
  return here.items === undefined ? own : [...own, ...schemaMeanings(here.items, `${prefix.slice(0, -1)}[].`)];
}
const ofPlan = new Map(schemaMeanings(JSON.parse(readFileSync(`${root}docs/plan.schema.json`, 'utf8'))));

/**
 * Rows of a type's fields, those of objects without a name behind them. `done` has the objects that stand above
 * already, by where.
 */
function rowsOf(section, type, at, prefix = '', done = new Map(), planRoot = isPlan(type)) {
  return type.getProperties().flatMap((property) => {
    const [declaration] = property.getDeclarations();
    const of = property.getTypeAtLocation(at);
    if (of.getCallSignatures().length > 0) return [];
    const name = property.getName();
    const inside = [];
    const above = [];
    const text = describe(of, at, (object, mark) => {
      const place = `${prefix}${name}${mark}`;
      if (done.has(object)) above.push(`Keys as of \`${done.get(object)}\`.`);
      else {
        if (object.getProperties().length === 0) throw new Error(`${place} has no keys: ${at.getText()}`);
        done.set(object, place);
        for (const row of rowsOf(section, object, at, `${place}.`, done, planRoot)) inside.push(row);
      }
    });
    // Of another form of the object.
    if (text === '') return [];
    if (/\bunknown\b(?!["`])|^any$/u.test(text)) throw new Error(`${prefix}${name} may be anything: ${at.getText()}`);
    const optional = property.isOptional() || parts(of).absent ? '?' : '';
    const said = declaration === undefined ? '' : commentOf(declaration) || commentOfSource(declaration);
    const planned = planRoot ? (ofPlan.get(`${prefix}${name}`) ?? '') : '';
    const found = said || planned || meaningOf(section, `${prefix}${name}`);
    if (found === '') unexplained.add(`${section}: ${prefix}${name}`);
    const meaning = [found, ...above].join(' ').trim();
    const unit = /number/u.test(text) ? unitOf(name) : '';
    return [`| \`${prefix}${name}${optional}\` | ${cell(text)} | ${unit} | ${cell(meaning)} |`, ...inside];
  });
}

/** Where a command prints a plan, and more beside it. */
const planText = [
  'A plan: the document of [plan.schema.json](plan.schema.json), which `plan --output` writes too; `judged` with ' +
    '`--judge` and `--exact`.',
  '',
];

const head = ['| key | type | unit | meaning |', '|---|---|---|---|'];
const unique = (rows) => [...new Set(rows)];

/** What a call of `console.json` prints. */
function documentText(section, call) {
  const [value] = call.getArguments();
  const type = value.getType();
  const { kept } = parts(type);
  return kept.flatMap((one) => {
    const object = one.isArray() ? elementOf(one) : one;
    const name = nameOf(object);
    const index = object.getStringIndexType();
    if (index !== undefined) return [`An object of ${describe(index, value, () => undefined)}, by name.`, ''];
    if (name === undefined)
      return [...(isPlan(object) ? planText : []), ...head, ...unique(rowsOf(section, object, value)), ''];
    shared.set(name, object);
    return [`[${name}](#${name.toLowerCase()}), below.`, ''];
  });
}

const printing = new Map();
for (const file of project.getSourceFiles(`${root}packages/cli/src/commands/*.ts`)) {
  const calls = file
    .getDescendantsOfKind(SyntaxKind.CallExpression)
    .filter((call) => /\bconsole\.json$/u.test(call.getExpression().getText()))
    // SARIF is a standard's.
    .filter((call) => !call.getArguments()[0].getText().startsWith('sarif('));
  if (calls.length > 0) printing.set(basename(file.getFilePath(), '.ts'), calls);
}
for (const name of printing.keys())
  if (!(name in commands)) throw new Error(`tools/json-page.mjs does not know what ${name}.ts prints`);

const sections = Object.entries(commands).flatMap(([file, command]) => {
  const calls = printing.get(file) ?? [];
  if (calls.length === 0) throw new Error(`${file}.ts prints no JSON`);
  const bodies = calls.map((call) => documentText(command, call));
  const texts = bodies.map((body, index) => (bodies.length > 1 ? [`${cases[file][index]}:`, '', ...body] : body));
  return [`## ${command}`, '', ...texts.flat()];
});

const types = [];
for (const [name, type] of shared) {
  const [declaration] = (type.getAliasSymbol() ?? type.getSymbol()).getDeclarations();
  const rows = unique(rowsOf(name, type, declaration));
  types.push({ name, text: [`### ${name}`, '', commentOf(declaration), '', ...head, ...rows, ''] });
}
if (unexplained.size > 0)
  throw new Error(
    ['keys without a meaning: a comment at the declaration, or a line of tools/json-page.mjs', ...unexplained].join(
      '\n  ',
    ),
  );
if (unused.size > 0) throw new Error(`meanings of no key: ${[...unused].join(', ')}`);
types.sort((a, b) => a.name.localeCompare(b.name, 'en'));

const text = [
  '# What `--json` prints',
  '',
  'Every command that answers prints its answer as one JSON document with `--json`, on standard output; notes ' +
    'stay on ' +
    'standard error. `npm run docs:json` makes this page from the types in the sources, and CI checks that it is so. ' +
    'The file that `plan --output` writes has a JSON Schema: [plan.schema.json](plan.schema.json). That of ' +
    '`lint --sarif` is SARIF 2.1.0.',
  '',
  '- Numbers are in SI base units: seconds, bytes, FLOPs, and these a second. Shares and errors are fractions of 1.',
  '- A number that JSON cannot hold (infinite, or not a number) is null.',
  '- `key?` may be missing. `a.b` is the key b in the object a, `a[].b` in every element of the array a, `a.*` under ' +
    'every name in a.',
  '- A failure prints no JSON: it goes to standard error, with exit code 2 for bad input and 1 for a failed run.',
  '',
  '<!-- prettier-ignore-start -->',
  '',
  ...sections,
  '## Types',
  '',
  ...types.flatMap((one) => one.text),
  '<!-- prettier-ignore-end -->',
  '',
].join('\n');

const formatted = await format(text, { ...(await resolveConfig(page)), filepath: page });
if (!process.argv.includes('--check')) writeFileSync(page, formatted);
else if (readFileSync(page, 'utf8') !== formatted) {
  process.stderr.write('docs/json.md is not what the sources say\n  npm run docs:json\n');
  process.exitCode = 1;
}
