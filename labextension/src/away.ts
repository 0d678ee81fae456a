/**
 * Which jobs ended while nobody looked at this page, be it hidden, asleep or closed. The moment it was last seen is kept in
 * the browser's own storage. In the browser.
 */
import { Signal, type ISignal } from '@lumino/signaling';

import { isFinal, type JobsModel } from './jobs';
import type { IJob } from './protocol';

/** Seconds between two notes that somebody is here. */
const TICK = 10;
/** Seconds of absence that are worth a word. */
const SHORT = 60;

export class Away {
  /** `key` names what is kept, different for each server. */
  constructor(
    private readonly jobs: JobsModel,
    private readonly key: string,
    private readonly storage: Storage | null = browserStorage()
  ) {
    this.seen = Number(storage?.getItem(key)) || now();
    this.note();
    jobs.changed.connect(this.onChanged);
    document.addEventListener('visibilitychange', this.note);
    this.clock = window.setInterval(this.note, TICK * 1000);
  }

  /** The jobs that ended during the last absence, until they are dismissed. Newest first. */
  get ended(): readonly IJob[] {
    return this._ended;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  dismiss(): void {
    this.absence = null;
    this._ended = [];
    this._changed.emit();
  }

  dispose(): void {
    this.jobs.changed.disconnect(this.onChanged);
    document.removeEventListener('visibilitychange', this.note);
    window.clearInterval(this.clock);
    Signal.clearData(this);
  }

  /** Somebody is here, unless the page is hidden. */
  private readonly note = (): void => {
    if (document.hidden) {
      return;
    }
    const until = now();
    if (until - this.seen > SHORT) {
      this.absence = [this.seen, until];
      this.onChanged();
    }
    this.seen = until;
    try {
      this.storage?.setItem(this.key, String(until));
    } catch {
      // The storage is full or forbidden: then an absence is only noticed while the page lives.
    }
  };

  /** The news of an absence may come long after its end, when the list is looked at next. */
  private readonly onChanged = (): void => {
    if (!this.absence) {
      return;
    }
    const [since, until] = this.absence;
    const ended = this.jobs.list.filter(
      job => isFinal(job) && job.ended !== null && job.ended > since && job.ended <= until
    );
    if (ended.length !== this._ended.length) {
      this._ended = ended;
      this._changed.emit();
    }
  };

  private _ended: readonly IJob[] = [];
  private readonly _changed = new Signal<this, void>(this);
  private readonly clock: number;
  private absence: [since: number, until: number] | null = null;
  private seen: number;
}

function now(): number {
  return Date.now() / 1000;
}

function browserStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
