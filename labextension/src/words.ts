/**
 * How a job is put into words, in one place, so that a row, a notification and the status bar say the same. Pure; in the
 * browser.
 */
import { PathExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { figure } from './components/format';
import type { JobGroup } from './jobs';
import type { IJob, JobState } from './protocol';

export function stateWord(state: JobState, trans: TranslationBundle): string {
  switch (state) {
    case 'NEW':
      return trans.__('New');
    case 'QUEUED':
      return trans.__('Queued');
    case 'STAGING_IN':
      return trans.__('Sending');
    case 'RUNNING':
      return trans.__('Running');
    case 'STAGING_OUT':
      return trans.__('Fetching');
    case 'COMPLETED':
      return trans.__('Done');
    case 'FAILED':
      return trans.__('Failed');
    case 'CANCELLED':
      return trans.__('Stopped');
    default:
      return state;
  }
}

export function groupWord(group: JobGroup, trans: TranslationBundle): string {
  switch (group) {
    case 'running':
      return trans.__('Running');
    case 'queued':
      return trans.__('Queued');
    case 'failed':
      return trans.__('Failed');
    case 'done':
      return trans.__('Done');
  }
}

/** What the job is called: its cell's own words, else where it comes from. */
export function title(job: IJob, trans: TranslationBundle): string {
  return job.name || notebook(job) || trans.__('job %1', job.id);
}

/** The name of its notebook's file, without the ending that they all have; empty when it came from elsewhere. */
export function notebook(job: IJob): string {
  return PathExt.basename(job.path ?? job.notebook ?? '', '.ipynb');
}

/** "35 %"; empty when nothing is known. */
export function percentWords(job: IJob, trans: TranslationBundle): string {
  const progress = job.telemetry.progress;
  return progress ? trans.__('%1 %', Math.floor(progress.fraction * 100)) : '';
}

/** "epoch 7/20"; empty when nothing is known. */
export function stepWords(job: IJob): string {
  const { done, total, unit } = job.telemetry.progress ?? { done: null, total: null, unit: '' };
  return done === null || total === null ? '' : `${unit} ${figure(done)}/${figure(total)}`.trim();
}

/** "epoch 7/20 · 35 %"; empty when nothing is known. */
export function progressWords(job: IJob, trans: TranslationBundle): string {
  return [stepWords(job), percentWords(job, trans)].filter(Boolean).join(' · ');
}

/** "loss 0.412"; empty when nothing is known. */
export function metricWords(job: IJob): string {
  const metric = job.telemetry.metric;
  return metric ? `${metric.name} ${figure(metric.value)}` : '';
}

/** What the curve of these points leaves out, and what tells it; empty when it shows all. */
export function leftOutWords(job: IJob, drawn: number, trans: TranslationBundle): string {
  const { count = 0, others = 0, recorded } = job.telemetry.metric ?? {};
  const words = [
    count > drawn &&
      trans.__('%1 of %2 values drawn', drawn.toLocaleString(), count.toLocaleString()),
    others > 0 && trans._n('%1 other metric', '%1 other metrics', others)
  ].filter(Boolean);
  const where = recorded ? '%lepton_metrics' : '%lepton_logs';
  return words.length > 0 ? `${words.join(' · ')}: ${where} ${job.id}` : '';
}

/** Seconds that remain at `now`; null when nobody knows. */
export function remaining(job: IJob, now: number): number | null {
  const progress = job.telemetry.progress;
  if (!progress || progress.eta === null) {
    return null;
  }
  return Math.max(0, progress.eta - Math.max(0, now - progress.time));
}

/** What it has cost: in the currency of `price_per_hour`, which nobody has named. */
export function costWords(job: IJob, trans: TranslationBundle): string {
  if (job.cost === null || job.cost <= 0) {
    return '';
  }
  return trans.__('cost %1', job.cost < 0.01 ? '< 0.01' : job.cost.toFixed(2));
}

/** Where its outputs are, when they are not simply in the notebook. */
export function writtenWords(job: IJob, trans: TranslationBundle): string {
  const { state, words } = job.written;
  switch (state) {
    case 'waiting':
      return words || trans.__('outputs wait for the notebook');
    case 'gone':
      return words || trans.__('cell gone – open result');
    case 'failed':
      return words || trans.__('outputs could not be written');
    default:
      return '';
  }
}
