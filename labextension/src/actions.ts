/**
 * What a person can do to a job: ask the server, and say what came of it. In the browser.
 */
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal, type ISignal } from '@lumino/signaling';

import { groupOf, isFinal } from './jobs';
import { SHOWN } from './notify';
import type { IJob } from './protocol';
import { ApiError } from './request';
import type { ILepton } from './tokens';
import { title } from './words';

export class JobActions {
  constructor(
    private readonly lepton: ILepton,
    private readonly trans: TranslationBundle
  ) {
    lepton.jobs.changed.connect((jobs, ids) => {
      const ended = [...this._stopping].filter(id => {
        const job = ids.has(id) && jobs.get(id);
        return job && isFinal(job);
      });
      this.setStopping(ended, false);
    });
  }

  /** Jobs that were told to stop and have not ended yet. Replaced, never changed. */
  get stopping(): ReadonlySet<string> {
    return this._stopping;
  }

  get stoppingChanged(): ISignal<this, void> {
    return this._stoppingChanged;
  }

  /** Stop it, after a question unless `confirm` is false. */
  async stop(job: IJob, confirm = true): Promise<void> {
    const { trans } = this;
    if (confirm) {
      const answer = await showDialog({
        title: trans.__('Stop this job?'),
        body:
          groupOf(job) === 'queued'
            ? trans.__('“%1” is taken out of the queue of %2.', title(job, trans), job.target)
            : trans.__(
                '“%1” ends now, and with it its kernel on %2: variables are lost, what it has shown is kept.',
                title(job, trans),
                job.target
              ),
        buttons: [
          Dialog.cancelButton({ label: trans.__('Go on') }),
          Dialog.warnButton({ label: trans.__('Stop') })
        ]
      });
      if (!answer.button.accept) {
        return;
      }
    }
    this.setStopping([job.id], true);
    try {
      await this.lepton.api.cancel(job.id);
    } catch (error) {
      this.setStopping([job.id], false);
      this.say(error, trans.__('“%1” could not be stopped', title(job, trans)));
    }
  }

  /** Run it once more where it ran, or on `target`. */
  async retry(job: IJob, target?: string): Promise<void> {
    const { trans } = this;
    try {
      await this.lepton.api.retry(job.id, target);
    } catch (error) {
      this.say(error, trans.__('“%1” could not be run again', title(job, trans)));
    }
  }

  /** Ask for a target, and run it there. */
  async retryElsewhere(job: IJob): Promise<void> {
    const { trans } = this;
    const names = this.lepton.targets.list
      .map(({ name }) => name)
      .filter(name => name !== job.target);
    if (!names.length) {
      Notification.info(trans.__('%1 is the only target. Add another under Targets.', job.target), {
        autoClose: SHOWN
      });
      return;
    }
    const answer = await InputDialog.getItem({
      title: trans.__('Run “%1” again', title(job, trans)),
      label: trans.__('Target'),
      items: names,
      okLabel: trans.__('Run')
    });
    if (answer.button.accept && answer.value) {
      await this.retry(job, answer.value);
    }
  }

  /** Put its outputs into its notebook now. */
  async write(job: IJob): Promise<void> {
    const { trans } = this;
    try {
      await this.lepton.api.write(job.id);
    } catch (error) {
      this.say(error, trans.__('The outputs of “%1” could not be written', title(job, trans)));
    }
  }

  /** Say what failed and what to do about it. */
  say(error: unknown, what: string): void {
    const why = error instanceof Error ? error.message : String(error);
    const hint = error instanceof ApiError ? error.hint : '';
    Notification.error([`${what}: ${why}`, hint].filter(Boolean).join('\n'), { autoClose: 10000 });
  }

  private setStopping(ids: readonly string[], on: boolean): void {
    if (!ids.length) {
      return;
    }
    const stopping = new Set(this._stopping);
    ids.forEach(id => (on ? stopping.add(id) : stopping.delete(id)));
    this._stopping = stopping;
    this._stoppingChanged.emit();
  }

  private _stopping: ReadonlySet<string> = new Set();
  private readonly _stoppingChanged = new Signal<this, void>(this);
}
