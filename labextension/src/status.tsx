/**
 * One line in the status bar: what runs, how busy the machines are, when all is done. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { Signal, type ISignal } from '@lumino/signaling';

import { duration } from './components/format';
import { leptonIcon } from './icons';
import type { ISummary } from './protocol';
import type { ILepton } from './tokens';

export class LeptonStatus extends ReactWidget {
  constructor(
    private readonly lepton: ILepton,
    private readonly trans: TranslationBundle,
    private readonly open: () => void
  ) {
    super();
    this.addClass('lp-Status');
    lepton.jobs.changed.connect(this.onChanged, this);
  }

  /** Whether there is anything to say. */
  get hasWords(): boolean {
    return !!statusWords(this.lepton.jobs.summary, this.trans);
  }

  /** `hasWords` may answer differently now. */
  get hasWordsChanged(): ISignal<this, void> {
    return this._hasWordsChanged;
  }

  override dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  protected override render(): JSX.Element {
    const { lepton, open, trans } = this;
    return (
      <UseSignal signal={lepton.jobs.changed}>
        {() => {
          const words = statusWords(lepton.jobs.summary, trans);
          return (
            <button
              type="button"
              className="lp-Status-button"
              title={trans.__('Jobs that run elsewhere. Click to see them.')}
              onClick={open}
            >
              <leptonIcon.react tag="span" />
              {words}
            </button>
          );
        }}
      </UseSignal>
    );
  }

  private onChanged(): void {
    if (this.hasWords !== this.had) {
      this.had = this.hasWords;
      this._hasWordsChanged.emit();
    }
  }

  private had = false;
  private readonly _hasWordsChanged = new Signal<this, void>(this);
}

/** "2 running · 1 queued · gpu-box 92 % · 14 min"; empty when nothing runs and nothing failed. */
export function statusWords(summary: ISummary | null, trans: TranslationBundle): string {
  if (!summary) {
    return '';
  }
  const { busiest, eta, failed_since, queued, running } = summary;
  if (!running && !queued && !failed_since) {
    return '';
  }
  return [
    running ? trans._n('%1 running', '%1 running', running) : '',
    queued ? trans._n('%1 queued', '%1 queued', queued) : '',
    failed_since ? trans._n('%1 failed', '%1 failed', failed_since) : '',
    running ? busiest : '',
    running && eta !== null ? trans.__('%1 left', duration(eta, trans)) : ''
  ]
    .filter(Boolean)
    .join(' · ');
}
