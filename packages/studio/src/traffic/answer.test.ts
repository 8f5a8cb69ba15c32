import { getCluster, passProgram, routedBinding, traffic } from '@monta/core';
import { expect, it } from 'vitest';
import { choiceOf, readLayer } from '../explore/answer.js';
import { readSubject } from '../subject/subject.js';
import { sentBy, trafficAnswer } from './answer.js';

const fields = {
  fields: { model: '2x70b', cluster: 'a800-2x8' },
  files: {},
  sliders: { tp: 8, ep: 2, tokens: 512, skew: 0.5, network: 1, inside: 1 },
};
const subject = await readSubject(fields);

it.each(['forward', 'backward'] as const)('adds up to the bytes of the whole pass, port by port: %s', (pass) => {
  const played = trafficAnswer({ ...fields, pass, way: 1 }, subject);
  const workload = readLayer(fields.sliders, subject);
  const chosen = choiceOf(workload).candidates[1];
  if (chosen === undefined) throw new Error('one way alone');
  const shape = { ...workload.shape, layout: chosen.layout };
  const whole = traffic({
    program: passProgram({ ...workload, shape }, chosen.strategy, pass),
    layout: shape.layout,
    cluster: getCluster('a800-2x8'),
    binding: routedBinding(shape, workload.routing, workload.seed),
  });
  const sent = sentBy(played, played.seconds);
  const egress = [...whole.ports].filter((_, at) => at % 2 === 0);
  expect(sent.length).toBe(egress.length);
  for (const [at, bytes] of egress.entries()) expect(sent[at]).toBeCloseTo(bytes, 3);
  expect(sentBy(played, 0).every((bytes) => bytes === 0)).toBe(true);
});
