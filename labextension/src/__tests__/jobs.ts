/** Jobs for tests. */
import type { IJob } from '../protocol';

export function job(number: number, more: Partial<IJob> = {}): IJob {
  return {
    id: `job${number}`,
    state: 'RUNNING',
    name: `cell ${number}`,
    notebook: '/home/ann/lab/train.ipynb',
    path: 'train.ipynb',
    cell_id: `cell-${number}`,
    target: 'gpu1',
    kernel: 'main',
    created: 1_000_000 + number,
    started: 1_000_000 + number,
    ended: null,
    cause: '',
    seq: 1,
    telemetry: {},
    cost: null,
    written: {},
    watched: true,
    ...more
  };
}
