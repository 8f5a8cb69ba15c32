/** A rank of the exchanges of a dispatch half between two nodes: all exchanges of a volume in turns. */
import { prepareExchange, type ExchangeTime } from '../exchange.js';
import { largest } from '../../execute/contest-rank.js';
import { runRank } from '../../launch/rank.js';
import type { ExchangesJob, RankExchanges } from './exchanges.js';

runRank<ExchangesJob>((context) => {
  const { size, endpoint, device, data, report } = context;
  const { volumes, ways, turns, seconds } = data;
  const everyone = Array.from({ length: size }, (_, rank) => rank);
  const world = endpoint.communicator('world', everyone, device.queue('control'));
  const barrier = (): void => device.wait(world.barrier());
  const begun = endpoint.now();
  for (const [place, bytes] of volumes.entries()) {
    if (largest(device, world, endpoint.now() - begun) > seconds) return;
    const prepared = ways.map((way) => prepareExchange(endpoint, device, { ...way, bytes }));
    const wrong = prepared.reduce((sum, one) => {
      one.run(barrier);
      return sum + one.wrong();
    }, 0);
    const times = prepared.map((): ExchangeTime[] => []);
    for (let turn = 0; turn < turns; turn++) prepared.forEach((one, way) => times[way].push(one.run(barrier)));
    for (const one of prepared) one.close();
    device.trim?.();
    report({ place, wrong, times } satisfies RankExchanges);
  }
});
