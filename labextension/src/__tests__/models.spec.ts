import { Away } from '../away';
import { JobsModel } from '../jobs';
import { arranged, filtered } from '../panels/filter';
import { offsets, reveal, visible } from '../panels/windowing';
import type { IJob } from '../protocol';
import { TargetsModel } from '../targets';
import { job } from './jobs';

function snapshot(jobs: IJob[], number = 1): JobsModel {
  const model = new JobsModel();
  model.receive({ type: 'jobs', after: 0, number, jobs, more: false, reset: true });
  model.flush();
  return model;
}

const ids = (jobs: readonly IJob[]): string[] => jobs.map(({ id }) => id);

describe('jobs', () => {
  it('stand newest first, however they come', () => {
    const model = snapshot([job(2), job(5), job(1)]);
    model.receive({ type: 'change', number: 2, jobs: [job(3)] });
    model.receive({
      type: 'change',
      number: 3,
      jobs: Array.from({ length: 30 }, (_, i) => job(10 + i))
    });
    const numbers = model.list.map(({ created }) => created);
    expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
    expect(model.list).toHaveLength(34);
  });

  it('are counted by what they do', () => {
    const model = snapshot([job(1), job(2, { state: 'QUEUED' }), job(3, { state: 'STAGING_IN' })]);
    expect(model.counts).toEqual({ running: 2, queued: 1, failed: 0, done: 0 });
    model.receive({
      type: 'change',
      number: 2,
      jobs: [
        job(1, { state: 'FAILED' }),
        job(2, { state: 'RUNNING' }),
        job(3, { state: 'CANCELLED' })
      ]
    });
    expect(model.counts).toEqual({ running: 1, queued: 0, failed: 1, done: 1 });
  });

  it('have no number before the snapshot is complete', () => {
    const model = new JobsModel();
    model.receive({ type: 'jobs', after: 0, number: 8, jobs: [job(1)], more: true, reset: true });
    expect(model.number).toBeNull();
    model.receive({ type: 'jobs', after: 0, number: 8, jobs: [job(2)], more: false });
    expect(model.number).toBe(8);
  });

  it('are forgotten when a snapshot begins', () => {
    const model = snapshot([job(1), job(2)]);
    model.receive({ type: 'jobs', after: 0, number: 1, jobs: [job(3)], more: false, reset: true });
    expect(ids(model.list)).toEqual(['job3']);
    expect(model.counts.running).toBe(1);
    expect(model.get('job1')).toBeUndefined();
  });

  it('say once that they ended, if they were seen before', () => {
    const model = snapshot([job(1), job(2, { state: 'FAILED' })]);
    const ended: string[] = [];
    model.ended.connect((_, { id }) => ended.push(id));
    const done = job(1, { state: 'COMPLETED' });
    model.receive({ type: 'change', number: 2, jobs: [done, job(3, { state: 'COMPLETED' })] });
    model.receive({ type: 'change', number: 3, jobs: [done] });
    expect(ended).toEqual(['job1']);
  });

  it('are told of once a frame', () => {
    const model = snapshot([job(1)]);
    const told: string[][] = [];
    model.changed.connect((_, changed) => told.push([...changed]));
    for (let i = 0; i < 50; i++) {
      model.receive({ type: 'change', number: 2 + i, jobs: [job(1, { seq: i }), job(2)] });
    }
    model.flush();
    expect(told).toEqual([['job1', 'job2']]);
  });
});

describe('a filter', () => {
  const jobs = [
    job(1, { name: 'train resnet', target: 'gpu1' }),
    job(2, { name: 'train bert', state: 'FAILED', cause: 'CUDA out of memory' }),
    job(3, { name: 'evaluate', state: 'QUEUED', path: 'Eval.ipynb' })
  ];

  it.each([
    ['', null, ['job1', 'job2', 'job3']],
    ['train', null, ['job1', 'job2']],
    ['TRAIN memory', null, ['job2']],
    ['eval', null, ['job3']],
    ['', 'failed' as const, ['job2']],
    ['train', 'queued' as const, []]
  ])('of "%s" and %s', (text, group, expected) => {
    expect(ids(filtered(jobs, { text, group }))).toEqual(expected);
  });

  it('leaves what runs on top, then what waits', () => {
    expect(ids(arranged([jobs[1], jobs[2], jobs[0]]))).toEqual(['job1', 'job3', 'job2']);
  });
});

describe('a window over rows', () => {
  const tops = offsets([10, 20, 30, 40], height => height);

  it.each([
    [0, 5, [0, 1]],
    [10, 15, [1, 2]],
    [25, 10, [1, 3]],
    [0, 1000, [0, 4]],
    [5000, 10, [3, 4]]
  ])('at %i, %i high', (top, height, expected) => {
    expect(visible(tops, top, height, 0)).toEqual(expected);
  });

  it('moves as little as it must', () => {
    expect(reveal(tops, 0, 30, 40)).toBe(0);
    expect(reveal(tops, 2, 0, 40)).toBe(20);
    expect(reveal(tops, 1, 0, 40)).toBe(0);
  });
});

describe('an absence', () => {
  const now = Date.now() / 1000;

  function away(seen: number, jobs: IJob[]): string[] {
    localStorage.setItem('seen', String(seen));
    const model = snapshot(jobs);
    const found = new Away(model, 'seen');
    model.receive({ type: 'change', number: 2, jobs: [] });
    model.receive({
      type: 'summary',
      running: 0,
      queued: 0,
      failed_since: 0,
      eta: null,
      busiest: ''
    });
    model.flush();
    found.dispose();
    return ids(found.ended);
  }

  const jobs = [
    job(1, { state: 'COMPLETED', ended: now - 7200 }),
    job(2, { state: 'FAILED', ended: now - 600 }),
    job(3)
  ];

  it('is told what ended in it', () => {
    expect(away(now - 3600, jobs)).toEqual(['job2']);
  });

  it('of a moment is no news', () => {
    expect(away(now - 20, [job(1, { state: 'FAILED', ended: now - 10 })])).toEqual([]);
  });
});

it('keeps ten minutes of a target', () => {
  const model = new TargetsModel();
  const target = {
    ...{ name: 'gpu1', kind: 'ssh', where: 'ann@gpu1', is_default: true, price_per_hour: 2 },
    ...{ link: 'unknown' as const, words: '', latency: null, sample: null, samples: [], kernels: 0 }
  };
  model.receive({ type: 'targets', targets: [target] });
  for (let time = 0; time < 700; time++) {
    const sample = {
      ...{ time, host: 'gpu1', cpu: { count: 8, percent: 34 }, memory: { used: 1, total: 2 } },
      ...{ disk: { path: '/', used: 1, total: 2 }, load: 1, devices: [], kernel: null, queue: [] },
      latency: 0.01
    };
    model.receive({ type: 'sample', target: 'gpu1', sample, latency: 0.02 });
  }
  expect(model.get('gpu1')).toMatchObject({ latency: 0.02, sample: { time: 699 } });
  expect(model.get('gpu1')?.samples).toHaveLength(600);
  expect(target.samples).toEqual([]);
  model.receive({ type: 'kernels', kernels: { gpu1: 2, gone: 1 } });
  expect(model.get('gpu1')?.kernels).toBe(2);
  model.receive({ type: 'kernels', kernels: {} });
  expect(model.get('gpu1')?.kernels).toBe(0);
});
