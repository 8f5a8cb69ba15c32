import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CostInputs } from '../cost/index.js';
import { pipelineSeconds, unevenPipelineSeconds } from '../cost/index.js';
import type { Cluster } from '../cluster/cluster.js';
import type { Operation, Program } from '../schedule/schedule.js';
import type { Span } from '../trace/index.js';
import { simulate } from './simulate.js';
import type { Place, Simulation, SimulationJob } from './simulate.js';
import {
  collective,
  kernel,
  noBinding,
  nodeOf,
  programOf,
  region,
  rowBytes,
  template,
  testCluster,
  testModel,
  testPlace,
} from '../../testing/simulate-jobs.js';

function run(
  cluster: Cluster,
  program: Program | readonly Program[],
  inputs: Partial<CostInputs> = {},
  more: Partial<SimulationJob> = {},
): Simulation {
  const result = simulate({
    place: testPlace(cluster),
    programs: Array.isArray(program) ? program : [program as Program],
    bindings: [noBinding],
    model: testModel(cluster, inputs),
    ...more,
  });
  if (!result.known) throw new Error(result.missing.join());
  return result;
}

function span(result: Simulation, rank: number, operation: string): Span {
  const found = result.trace.spans.find((each) => each.rank === rank && each.operation === operation);
  if (!found) throw new Error(`no ${operation} on rank ${rank}`);
  return found;
}

const lateStage = (seconds: number): Program =>
  programOf([
    template(
      't',
      [region('x', 10)],
      [kernel('k', seconds), collective('a2a', 'inter', 'all_to_all', 'ep', 'x', { after: ['k'] })],
    ),
  ]);

const plainStage = (operations: Operation[]): Program => programOf([template('t', [region('x', 10)], operations)]);

const crossedStage = (first: string, second: string): Program =>
  programOf([
    template(
      't',
      [region('x', 10)],
      [
        collective(first, first === 'one' ? 'inter' : 'intra', 'all_to_all', 'ep', 'x'),
        collective(second, second === 'one' ? 'inter' : 'intra', 'all_to_all', 'ep', 'x', { after: [first] }),
      ],
    ),
  ]);

function chain(n: number, kernelTime: number): Operation[] {
  // all_to_all between 2 nodes sends half of a chunk; all_gather in a node of 2 sends each rank's half
  return Array.from({ length: n }, (_, c) => [
    collective(`a2a.${c}`, 'inter', 'all_to_all', 'ep', 'x', { chunk: c, of: n }),
    collective(`ag.${c}`, 'intra', 'all_gather', 'tp', 'y', { chunk: c, of: n, after: [`a2a.${c}`] }),
    kernel(`gemm.${c}`, kernelTime, [`ag.${c}`]),
  ]).flat();
}

describe('pipelines of chunks', () => {
  it('take the sum of their stages and (n-1) times the slowest', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 50 }),
        fc.double({ min: 0.01, max: 80, noNaN: true }),
        fc.double({ min: 0, max: 3, noNaN: true }),
        fc.double({ min: 0, max: 3, noNaN: true }),
        (n, a, g, compute, interLatency, intraLatency) => {
          const cluster = testCluster(2, 2, { inter: 0.5, intra: 2, interLatency, intraLatency });
          const program = programOf([
            template('layer', [region('x', 2 * a * n), region('y', 2 * g * n)], chain(n, compute)),
          ]);
          const stages = [(a * rowBytes) / 0.5 + interLatency, (g * rowBytes) / 2 + intraLatency, compute];
          const expected = pipelineSeconds(stages, n);
          expect(run(cluster, program).summary.makespanSeconds / expected).toBeCloseTo(1, 9);
          const two = {
            ...program,
            templates: {
              layer: template(
                'layer',
                program.templates['layer']?.regions ?? [],
                chain(n, compute).filter((o) => o.lane !== 'compute'),
              ),
            },
          };
          expect(run(cluster, two).summary.makespanSeconds / pipelineSeconds(stages.slice(0, 2), n)).toBeCloseTo(1, 9);
        },
      ),
      { seed: 3, numRuns: 60 },
    );
  });

  it('of unequal chunks follow the flow-shop recurrence', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
          { minLength: 1, maxLength: 7 },
        ),
        (chunks) => {
          const regions = chunks.flatMap(([a, g], c) => [region(`x${c}`, 2 * a), region(`y${c}`, 2 * g)]);
          const operations = chunks.flatMap(([, , k], c) => [
            collective(`a2a.${c}`, 'inter', 'all_to_all', 'ep', `x${c}`),
            collective(`ag.${c}`, 'intra', 'all_gather', 'tp', `y${c}`, { after: [`a2a.${c}`] }),
            kernel(`gemm.${c}`, k, [`ag.${c}`]),
          ]);
          const seconds = unevenPipelineSeconds(chunks.map(([a, g, k]) => [a * rowBytes, g * rowBytes, k]));
          const result = run(testCluster(2, 2), programOf([template('layer', regions, operations)]));
          expect(result.summary.makespanSeconds / seconds).toBeCloseTo(1, 9);
          const path = result.summary.path;
          expect(path.reduce((sum, piece) => sum + piece.end - piece.start, 0) / seconds).toBeCloseTo(1, 9);
        },
      ),
      { seed: 4, numRuns: 60 },
    );
  });
});

describe('shared ports', () => {
  it('serve n flows through one port in n times the time', () => {
    for (const perNode of [1, 2, 4, 8]) {
      const cluster = testCluster(2, perNode, { ports: 1, intra: 1e9 });
      const program = programOf([
        template('t', [region('x', 20)], [collective('a2a', 'inter', 'all_to_all', 'ep', 'x')]),
      ]);
      const result = run(cluster, program);
      expect(result.summary.makespanSeconds).toBeCloseTo(perNode * 10 * rowBytes, 9);
      expect(result.summary.binding).toMatchObject({ kind: 'port', share: 1 });
      expect(result.summary.binding?.name).toBe('network');
      expect(result.summary.binding?.port).toMatch(/^node\d\/network\/(out|in)$/u);
    }
  });

  it('are shared by collectives of different lanes, and free again when one ends', () => {
    const operations = [
      collective('long', 'inter', 'all_to_all', 'ep', 'x'),
      collective('short', 'intra', 'all_to_all', 'ep', 'y'),
    ];
    const result = run(testCluster(2, 1), programOf([template('t', [region('x', 30), region('y', 10)], operations)]));
    // 30 and 10 bytes: half speed until 10 are through at 20, then 20 bytes alone
    expect(span(result, 0, 't/short').end).toBeCloseTo(20, 9);
    expect(span(result, 0, 't/long').end).toBeCloseTo(40, 9);
  });

  it('let higher priorities pass', () => {
    const operations = [
      collective('long', 'inter', 'all_to_all', 'ep', 'x'),
      collective('urgent', 'intra', 'all_to_all', 'ep', 'y', { priority: 1 }),
    ];
    const result = run(testCluster(2, 1), programOf([template('t', [region('x', 30), region('y', 10)], operations)]));
    expect(span(result, 1, 't/urgent').end).toBeCloseTo(10, 9);
    expect(span(result, 1, 't/long').end).toBeCloseTo(40, 9);
  });

  it('carry every byte that ranks send, once on each side', () => {
    const cluster = testCluster(2, 4, { ports: 2 });
    const operations = [
      collective('a2a', 'inter', 'all_to_all', 'world', 'x'),
      collective('ar', 'intra', 'all_reduce', 'tp', 'y'),
      collective('rs', 'intra', 'reduce_scatter', 'tp', 'x'),
    ];
    for (const algorithm of ['direct', 'ring'] as const) {
      const result = run(cluster, programOf([template('t', [region('x', 800), region('y', 40)], operations)]), {
        algorithm,
      });
      const sent = result.trace.spans.reduce((sum, each) => sum + each.bytes, 0);
      const ports = result.summary.ports.reduce((sum, port) => sum + port.bytes, 0);
      expect(ports).toBeCloseTo(2 * sent, 6);
      expect(sent).toBeCloseTo(rowBytes * (8 * 700 + 8 * 2 * 30 + 8 * 600), 6);
    }
  });
});

describe('lanes and hosts', () => {
  it('keep the order of a lane, across nodes too', () => {
    const first = template('a', [], [kernel('slow', 5, [], 'copy'), kernel('k', 1, ['slow'])]);
    const second = template('b', [], [kernel('k', 1)]);
    const result = run(testCluster(1, 1), programOf([first, second], [nodeOf('a'), nodeOf('b')]));
    expect(span(result, 0, 'b/k')).toMatchObject({ issued: 6, end: 7 });
  });

  it('wait for nodes, also through empty ones', () => {
    const nodes = [nodeOf('a'), nodeOf('empty', [0]), nodeOf('empty', [1]), nodeOf('b', [2])];
    const program = programOf(
      [template('a', [], [kernel('k', 3)]), template('empty', [], []), template('b', [], [kernel('k', 1, [], 'copy')])],
      nodes,
    );
    expect(span(run(testCluster(1, 1), program), 0, 'b/k').issued).toBe(3);
  });

  it('tell waiting for peers from transferring', () => {
    const place: Place = { ...testPlace(testCluster(2, 1)), stageOf: (rank) => rank };
    const result = run(testCluster(2, 1), [lateStage(1), lateStage(4)], {}, { place });
    expect(span(result, 0, 't/a2a')).toMatchObject({ issued: 1, ready: 4, end: 14, bytes: 10 });
    expect(span(result, 1, 't/a2a')).toMatchObject({ issued: 4, ready: 4, end: 14 });
    expect(result.summary.path.map((piece) => [piece.rank, piece.operation])).toEqual([
      [1, 't/k'],
      [0, 't/a2a'],
    ]);
    expect(result.summary.times.ranks[0]?.lanes[1]).toMatchObject({ waitingSeconds: 3, busySeconds: 10 });
  });

  it('issue one operation after another, and stop at a bind', () => {
    const operations: Operation[] = [
      kernel('a', 5, [], 'copy'),
      {
        id: 'bind',
        task: 'bind',
        chunk: 0,
        of: 1,
        lane: 'compute',
        body: { kind: 'bind' },
        uses: [],
        after: ['a'],
        priority: 0,
      },
      kernel('b', 1),
      kernel('c', 1, [], 'inter'),
    ];
    const result = run(testCluster(1, 1), programOf([template('t', [], operations)]), { hostOverheadSeconds: 0.25 });
    expect(span(result, 0, 't/a').issued).toBe(0.25);
    expect(span(result, 0, 't/bind')).toMatchObject({ issued: 5.25, end: 5.25 });
    expect(span(result, 0, 't/b').issued).toBe(5.5);
    expect(span(result, 0, 't/c').issued).toBe(5.75);
    expect(result.summary.held.find((each) => each.kind === 'host')?.seconds).toBeCloseTo(0.75, 12);
  });

  it('issue nothing while a kernel runs on the issuing thread', () => {
    const operations = [kernel('k', 3), collective('a2a', 'inter', 'all_to_all', 'ep', 'x')];
    const program = programOf([template('t', [region('x', 10)], operations)]);
    expect(span(run(testCluster(2, 1), program, { hostRunsKernels: true }), 0, 't/a2a').issued).toBe(3);
    expect(span(run(testCluster(2, 1), program), 0, 't/a2a').issued).toBe(0);
  });

  it('slow kernels down while collectives hold multiprocessors', () => {
    const operations = [collective('a2a', 'inter', 'all_to_all', 'ep', 'x'), kernel('k', 20)];
    const cluster = testCluster(2, 1, { multiprocessors: 100 });
    const result = run(cluster, programOf([template('t', [region('x', 10)], operations)]), {
      multiprocessorsPerCollective: 20,
    });
    // 10 seconds at 0.8, the remaining 12 at full speed
    expect(span(result, 0, 't/k').end).toBeCloseTo(22, 9);
  });

  it('of one GPU share it, since each fills its multiprocessors or its memory bandwidth', () => {
    const operations = [kernel('gemm', 20), { ...kernel('copy', 6), lane: 'copy' as const }];
    const together = run(testCluster(1, 1, { multiprocessors: 100 }), programOf([template('t', [], operations)]));
    expect(span(together, 0, 't/copy').end).toBeCloseTo(12, 9);
    expect(span(together, 0, 't/gemm').end).toBeCloseTo(26, 9);
  });

  it('share the cores of a host, also with the movers of bytes', () => {
    const kernels = programOf([template('t', [], [kernel('k', 6)])]);
    const cluster = testCluster(1, 4, { intra: 3 });
    const shared = run(cluster, kernels, {}, { hostCores: { cores: 2, ranksPerHost: 4 } });
    expect(shared.summary.makespanSeconds).toBeCloseTo(12, 9);
    const both = programOf([
      template('t', [region('x', 12)], [collective('a2a', 'intra', 'all_to_all', 'tp', 'x'), kernel('k', 6)]),
    ]);
    const movers = { threads: 1, bytesPerSecond: 24 };
    const result = run(cluster, both, {}, { hostCores: { cores: 2, ranksPerHost: 4, movers } });
    // 72 bytes in all: the mover has 2/5 of a core, 9.6 bytes/s, below what the ports carry (12): 7.5 s; kernels have
    // 1.6 cores until then
    expect(span(result, 0, 't/a2a').end).toBeCloseTo(7.5, 9);
    expect(span(result, 0, 't/k').end).toBeCloseTo(7.5 + (24 - 12) / 2, 9);
  });

  it('take longer to move bytes between hosts where a protocol costs more than a copy', () => {
    const seconds = (cluster: Cluster, group: 'ep' | 'tp', networkBytesPerSecond?: number): number => {
      const exchange = programOf([
        template('t', [region('x', 12)], [collective('a2a', 'inter', 'all_to_all', group, 'x')]),
      ]);
      const movers = { threads: 2, bytesPerSecond: 4, ...(networkBytesPerSecond ? { networkBytesPerSecond } : {}) };
      const hostCores = { cores: 2, ranksPerHost: 2, movers };
      return run(cluster, exchange, {}, { hostCores }).summary.makespanSeconds;
    };
    // 12 bytes each way, of two ranks on one machine; ports of 100 bytes/s do not matter
    const [between, inside] = [testCluster(2, 1, { inter: 100 }), testCluster(1, 2, { intra: 100 })];
    expect(seconds(between, 'ep')).toBeCloseTo(24 / 8, 9);
    expect(seconds(between, 'ep', 1)).toBeCloseTo(24 / 2, 9);
    expect(seconds(inside, 'tp', 1)).toBeCloseTo(24 / 8, 9);
  });
});

describe('what cannot run', () => {
  it('is refused when members issue collectives in different orders', () => {
    const place: Place = { ...testPlace(testCluster(2, 1)), stageOf: (rank) => rank };
    const one = collective('one', 'inter', 'all_to_all', 'ep', 'x');
    const two = collective('two', 'inter', 'all_gather', 'ep', 'x');
    expect(() => run(testCluster(2, 1), [plainStage([one, two]), plainStage([two, one])], {}, { place })).toThrow(
      /collective 0 on inter ep 0,1 differs: rank 0 has t\/one of node 0, rank 1 has t\/two/u,
    );
    expect(() => run(testCluster(2, 1), [plainStage([one, two]), plainStage([one])], {}, { place })).toThrow(
      /rank 1 has nothing left/u,
    );
  });

  it('is reported as a deadlock with the operations that wait', () => {
    const place: Place = { ...testPlace(testCluster(2, 1)), stageOf: (rank) => rank };
    expect(() =>
      run(testCluster(2, 1), [crossedStage('one', 'two'), crossedStage('two', 'one')], {}, { place }),
    ).toThrow(
      new RegExp(
        'deadlock:[^]*rank 0 inter ep: t/one of node 0 waits for rank 1' +
          '[^]*rank 0 intra ep: t/two of node 0 waits for t/one',
        'u',
      ),
    );
  });

  it('names unknown operations and templates', () => {
    expect(() => run(testCluster(1, 1), programOf([template('t', [], [kernel('k', 1, ['nobody'])])]))).toThrow(
      /waits for "nobody"/u,
    );
    expect(() => run(testCluster(1, 1), programOf([], [nodeOf('nothing')]))).toThrow(/names the template "nothing"/u);
  });

  it('is unknown when a kernel has no price', () => {
    const cluster = testCluster(1, 1);
    const result = simulate({
      place: testPlace(cluster),
      programs: [programOf([template('t', [], [kernel('k', 1)])])],
      bindings: [noBinding],
      model: testModel(cluster, { computeType: 'fp8' }),
    });
    expect(result).toMatchObject({ known: false, missing: [expect.stringMatching(/fp8/u)] });
  });
});

describe('stages', () => {
  it('hand activations forward and gradients back', () => {
    const cluster = testCluster(2, 1);
    const base = testPlace(cluster);
    const place: Place = { ...base, stageOf: (rank) => rank, groups: () => [0, 1] };
    const templates = {
      send: template(
        'send',
        [region('x', 5)],
        [kernel('k', 2), collective('s', 'inter', 'send', 'pp', 'x', { after: ['k'] })],
      ),
      receive: template(
        'receive',
        [region('x', 5)],
        [collective('r', 'inter', 'receive', 'pp', 'x'), kernel('k', 3, ['r'])],
      ),
    };
    const first: Program = { stage: 0, templates, nodes: [nodeOf('send'), nodeOf('receive', [0], 'backward')] };
    const second: Program = { stage: 1, templates, nodes: [nodeOf('receive'), nodeOf('send', [0], 'backward')] };
    const result = run(cluster, [first, second], {}, { place });
    // 2 compute, 10 bytes, 3 compute, 2 compute, 10 bytes, 3 compute
    expect(result.summary.makespanSeconds).toBeCloseTo(30, 9);
    expect(result.trace.spans.filter((each) => each.operation === 'receive/r').every((each) => each.bytes === 0)).toBe(
      true,
    );
  });
});
