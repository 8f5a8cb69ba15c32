import { describe, expect, it } from 'vitest';
import { clusterPresets, deviceCount, getCluster } from '../cluster/index.js';
import { worldSize } from '../layout/index.js';
import { getModel, modelPresets } from '../model/index.js';
import { InputError } from '../units/index.js';
import { automaticLayout } from './automatic-layout.js';

describe('the layout of a run that names none', () => {
  it('holds all devices, keeps TP inside a node, and divides what it must, whatever cluster and model', () => {
    let found = 0;
    for (const clusterName of clusterPresets.keys())
      for (const modelName of modelPresets.keys())
        for (const batch of [8, 64]) {
          const [cluster, model] = [getCluster(clusterName), getModel(modelName)];
          try {
            const layout = automaticLayout({ cluster, model, batch });
            found += 1;
            const divides = (part: number, whole: number) => whole % part === 0;
            expect([
              worldSize(layout) === deviceCount(cluster),
              layout.tp <= (cluster.tiers[0]?.size ?? 1),
              divides(layout.tp, model.attentionHeads) && divides(layout.tp, model.expertFfn),
              divides(layout.tp, model.keyValueHeads) || divides(model.keyValueHeads, layout.tp),
              divides(layout.dp, batch),
              divides(layout.ep, model.experts),
            ]).toEqual([true, true, true, true, true, true]);
          } catch (error) {
            if (!(error instanceof InputError)) throw error;
          }
        }
    expect(found).toBeGreaterThan(20);
  });

  it('says what to change when nothing fits', () => {
    const request = { cluster: getCluster('laptop-2x4'), model: getModel('tiny-bytes'), batch: 7 };
    const small = { ...request, model: { ...request.model, attentionHeads: 1 } };
    expect(() => automaticLayout(small)).toThrow(/no layout of 8 ranks fits tiny-bytes with 7 sequences/u);
  });
});
