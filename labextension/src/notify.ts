/**
 * One notification per job that ended; several that end together share one. In the browser.
 */
import { Notification } from '@jupyterlab/apputils';
import type { Event as JupyterEvent, ServiceManager } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IJob } from './protocol';
import type { ILepton } from './tokens';
import { title } from './words';

export type Wanted = 'all' | 'failures' | 'none';

/** Jobs that end within so many milliseconds are told of together. */
const TOGETHER = 1500;
/** More than so many at once are counted, not named. */
const NAMED = 3;
/** Milliseconds for which good news is on screen; without them it would only be in the list of notifications. */
export const SHOWN = 8000;
const SCHEMA = /^https:\/\/schema\.lepton-jupyter\.org\/job\//;
const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED'];

export class Notifier {
  /** `open` shows a job; what is chosen is asked each time. */
  constructor(
    private readonly lepton: ILepton,
    private readonly trans: TranslationBundle,
    private readonly open: (job: IJob | null) => void,
    private readonly chosen: { readonly notifications: Wanted; readonly notifyAfter: number }
  ) {
    lepton.jobs.ended.connect((_, job) => this.add(job));
  }

  /** While nobody looks at our panels, the server's events ring the bell. */
  listen(events: ServiceManager.IManager['events']): void {
    events.stream.connect((_: unknown, event: JupyterEvent.Emission) => {
      const { job, state } = event as { job?: unknown; state?: unknown };
      if (
        !SCHEMA.test(event.schema_id) ||
        !FINAL.includes(String(state)) ||
        typeof job !== 'string'
      ) {
        return;
      }
      if (!this.told.has(job) && this.chosen.notifications !== 'none') {
        // A job that cannot be asked for now is told of when the list is.
        this.lepton.api.job(job).then(
          found => this.add(found),
          () => undefined
        );
      }
    });
  }

  private add(job: IJob): void {
    if (this.told.has(job.id) || job.state === 'CANCELLED') {
      return;
    }
    this.told.add(job.id);
    const { notifications: wanted, notifyAfter } = this.chosen;
    if (wanted === 'none' || (wanted === 'failures' && job.state !== 'FAILED')) {
      return;
    }
    if (job.ended !== null && job.ended - job.created < notifyAfter) {
      return;
    }
    this.pending.push(job);
    this.timer ||= window.setTimeout(() => this.tell(), TOGETHER);
  }

  private tell(): void {
    const jobs = this.pending;
    this.pending = [];
    this.timer = 0;
    if (jobs.length > NAMED) {
      this.tellAll(jobs);
    } else {
      jobs.forEach(job => this.tellOne(job));
    }
  }

  private tellOne(job: IJob): void {
    const { trans } = this;
    const actions = [{ label: trans.__('Show'), callback: () => this.open(job) }];
    if (job.state === 'FAILED') {
      const words = trans.__('“%1” failed on %2', title(job, trans), job.target);
      Notification.error(job.cause ? `${words}: ${job.cause.split('\n', 1)[0]}` : words, {
        actions,
        autoClose: false
      });
    } else {
      Notification.success(trans.__('“%1” is done on %2', title(job, trans), job.target), {
        actions,
        autoClose: SHOWN
      });
    }
  }

  private tellAll(jobs: readonly IJob[]): void {
    const { trans } = this;
    const failed = jobs.filter(job => job.state === 'FAILED').length;
    const actions = [{ label: trans.__('Show'), callback: () => this.open(null) }];
    if (failed) {
      Notification.error(trans.__('%1 jobs ended, %2 of them failed', jobs.length, failed), {
        actions,
        autoClose: false
      });
    } else {
      Notification.success(trans.__('%1 jobs are done', jobs.length), {
        actions,
        autoClose: SHOWN
      });
    }
  }

  private readonly told = new Set<string>();
  private pending: IJob[] = [];
  private timer = 0;
}
