/** What the figures of a dropped cluster rest on: the file, logs of nccl-tests, or a guess. */
import type { PlanAnswer } from './answer.js';

export function ClusterEvidence({ answer: { evidence, doubts = [] } }: { readonly answer: PlanAnswer }) {
  if (evidence === undefined) return null;
  const measured = evidence.some((row) => row.measured !== undefined);
  return (
    <section class="card" aria-label="What the cluster rests on">
      <h2>What the cluster rests on</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Tiers and their grounds">
        <table>
          <thead>
            <tr>
              <th>tier</th>
              <th class="number">ports</th>
              <th>bandwidth is</th>
              <th>because</th>
              {measured && <th class="number">bus bandwidth in the logs</th>}
            </tr>
          </thead>
          <tbody>
            {evidence.map(({ tier, ports, ground, because, measured: bus }) => (
              <tr key={tier}>
                <td>{tier}</td>
                <td class="number">{ports}</td>
                <td>{ground}</td>
                <td>{because}</td>
                {measured && <td class="number">{bus ?? '–'}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {measured && (
        <p class="muted">
          Logs price the layer of Explore, Timeline and Traffic. The search of this page uses the figures of the
          cluster.
        </p>
      )}
      <ul class="findings">
        {doubts.map((doubt) => (
          <li key={doubt}>{doubt}</li>
        ))}
      </ul>
    </section>
  );
}
