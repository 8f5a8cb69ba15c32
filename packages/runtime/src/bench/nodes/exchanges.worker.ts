/** A rank of the exchanges of a dispatch half between two nodes: all exchanges of a volume in turns. */
import { prepareExchange, type ExchangeTime } from '../exchange.js';
import { runRank } from '../../launch/rank.js';
import type { ExchangesJob, RankExchanges } from './exchanges.js';

runRank<ExchangesJob>(({ size, endpoint, device, data: { volumes, ways, turns }, report }) => {
  const everyone = Array.from({ length: size }, (_, rank) => rank);
  const world = endpoint.communicator('world', everyone, device.queue('control'));
  const barrier = (): void => device.wait(world.barrier());
  for (const [place, bytes] of volumes.entries()) {
    const prepared = ways.map((way) => prepareExchange(endpoint, device, { ...way, bytes }));
    const wrong = prepared.reduce((sum, one) => {
      one.run(barrier);
      return sum + one.wrong();
    }, 0);
    const times = prepared.map((): ExchangeTime[] => []);
    for (let turn = 0; turn < turns; turn++) prepared.forEach((one, way) => times[way].push(one.run(barrier)));
    for (const one of prepared) one.close();
    report({ place, wrong, times } satisfies RankExchanges);
  }
});
