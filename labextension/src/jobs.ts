/**
 * The user's jobs, newest first, as the server's numbered changes made them. In the browser.
 */
import { Signal, type ISignal } from '@lumino/signaling';

import { Coalesced } from './frames';
import type { IJob, ISummary, JobState, Message } from './protocol';

/** What the status chips tell apart. */
export type JobGroup = 'running' | 'queued' | 'failed' | 'done';

export const GROUPS: readonly JobGroup[] = ['running', 'queued', 'failed', 'done'];

const GROUP_OF: Record<JobState, JobGroup> = {
  NEW: 'queued',
  QUEUED: 'queued',
  STAGING_IN: 'running',
  RUNNING: 'running',
  STAGING_OUT: 'running',
  COMPLETED: 'done',
  FAILED: 'failed',
  CANCELLED: 'done'
};

export function groupOf(job: IJob): JobGroup {
  return GROUP_OF[job.state] ?? 'queued';
}

export function isFinal(job: IJob): boolean {
  return job.state === 'COMPLETED' || job.state === 'FAILED' || job.state === 'CANCELLED';
}

/** Whether `a` stands above `b`. */
function newer(a: IJob, b: IJob): boolean {
  return a.created !== b.created ? a.created > b.created : a.id > b.id;
}

export class JobsModel {
  /** Newest first. Not to be kept: it changes in place. */
  get list(): readonly IJob[] {
    return this._list;
  }

  /** The number of the last change taken in; null until the first snapshot is complete. */
  get number(): number | null {
    return this._number;
  }

  /** How many jobs are in each group. */
  get counts(): Readonly<Record<JobGroup, number>> {
    return this._counts;
  }

  /** The last summary; it is all that comes while nothing of ours is on screen. */
  get summary(): ISummary | null {
    return this._summary;
  }

  /** Which jobs changed, by id; '' when only the summary or the snapshot did. Once a frame at most. */
  get changed(): ISignal<this, ReadonlySet<string>> {
    return this._changed;
  }

  /** A job that was seen before it ended has ended. */
  get ended(): ISignal<this, IJob> {
    return this._ended;
  }

  get(id: string): IJob | undefined {
    return this.byId.get(id);
  }

  receive(message: Message): void {
    if (message.type === 'jobs') {
      if (message.reset) {
        this.clear();
      }
      this.take(message.jobs);
      if (!message.more) {
        this._number = message.number;
      }
      this.pending.add('');
    } else if (message.type === 'change') {
      this.take(message.jobs);
      // A change during a snapshot is part of what the snapshot's own number covers.
      if (this._number !== null) {
        this._number = Math.max(this._number, message.number);
      }
    } else if (message.type === 'summary') {
      this._summary = message;
      this.pending.add('');
    }
  }

  /** Tell now what changed since the last frame. */
  flush(): void {
    this.pending.flush();
  }

  private clear(): void {
    this.pending.add(...this.byId.keys());
    this.byId.clear();
    this._list.length = 0;
    this._number = null;
    GROUPS.forEach(group => (this._counts[group] = 0));
  }

  private take(jobs: readonly IJob[]): void {
    const added: IJob[] = [];
    for (const job of jobs) {
      const known = this.byId.get(job.id);
      this.byId.set(job.id, job);
      this._counts[groupOf(job)] += 1;
      if (known) {
        this._counts[groupOf(known)] -= 1;
        this._list[this.indexOf(known)] = job;
        if (isFinal(job) && !isFinal(known)) {
          this._ended.emit(job);
        }
      } else {
        added.push(job);
      }
      this.pending.add(job.id);
    }
    this.insert(added);
  }

  /** A few find their place one by one; a snapshot is sorted as a whole. */
  private insert(added: readonly IJob[]): void {
    if (added.length > 20) {
      this._list.push(...added);
      this._list.sort((a, b) => (newer(a, b) ? -1 : 1));
      return;
    }
    for (const job of added) {
      this._list.splice(this.indexOf(job), 0, job);
    }
  }

  /** Where a job stands, or would: `created` never changes. */
  private indexOf(job: IJob): number {
    let low = 0;
    let high = this._list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (newer(this._list[middle], job)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  private readonly byId = new Map<string, IJob>();
  private readonly _list: IJob[] = [];
  private readonly _counts: Record<JobGroup, number> = {
    running: 0,
    queued: 0,
    failed: 0,
    done: 0
  };
  private _number: number | null = null;
  private _summary: ISummary | null = null;
  private readonly _changed = new Signal<this, ReadonlySet<string>>(this);
  private readonly _ended = new Signal<this, IJob>(this);
  private readonly pending = new Coalesced<string>(ids => this._changed.emit(ids));
}
