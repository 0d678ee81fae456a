/**
 * The sidebar's list of targets: whether each can be reached, what it is doing now and did for ten minutes, who holds it.
 * What is old is greyed and dated. In the browser.
 */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Ago, useClock } from '../components/clock';
import { milliseconds } from '../components/format';
import { LinkMark } from '../components/link';
import type { IFinding, ITarget } from '../protocol';
import type { ILepton } from '../tokens';
import { inWords, LiveWidget, useTargets, type ILook } from '../views/live';
import { HostUse } from './devices';
import { Findings } from './findings';

/** A sample older than so many seconds is no longer how things are. */
export const STALE = 15;

export interface ITargetsPanelOptions {
  lepton: ILepton;
  trans: TranslationBundle;
  /** Show a target in the main area. */
  open: (target: string) => void;
  /** Show the form that adds one. */
  add: () => void;
}

export class TargetsPanel extends LiveWidget {
  constructor(private readonly options: ITargetsPanelOptions) {
    super(options.lepton);
    this.id = 'lepton-targets';
    this.addClass('lp-root');
    this.addClass('lp-Targets');
    options.lepton.targets.changed.connect(this.onChanged, this);
  }

  protected look(): ILook {
    return { targets: this.names };
  }

  protected override render(): JSX.Element {
    return <TargetList {...this.options} />;
  }

  private get names(): string[] {
    return this.lepton.targets.list.map(({ name }) => name);
  }

  private onChanged(): void {
    const names = this.names.join('\n');
    if (names !== this.looked) {
      this.looked = names;
      this.lookAgain();
    }
  }

  private looked = '';
}

export function TargetList({ lepton, trans, open, add }: ITargetsPanelOptions): JSX.Element {
  const targets = useTargets(lepton.targets);
  const onKeyDown = (event: React.KeyboardEvent<HTMLElement>): void => {
    const by = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    const heads = [...event.currentTarget.querySelectorAll<HTMLElement>('.lp-Target-name')];
    const here = heads.indexOf(event.target as HTMLElement);
    if (by && here >= 0) {
      heads[Math.min(heads.length - 1, Math.max(0, here + by))].focus();
      event.preventDefault();
    }
  };
  return (
    <>
      {lepton.targets.known && targets.length === 0 && (
        <p className="lp-Targets-empty">{trans.__('No target yet: nowhere to run cells.')}</p>
      )}
      <ul className="lp-Targets-list" onKeyDown={onKeyDown}>
        {targets.map(target => (
          <TargetRow key={target.name} {...{ target, lepton, trans, open }} />
        ))}
      </ul>
      <button className="lp-button lp-Targets-add" onClick={add}>
        {trans.__('Add a target…')}
      </button>
    </>
  );
}

interface IRowProps {
  target: ITarget;
  lepton: ILepton;
  trans: TranslationBundle;
  open: (target: string) => void;
}

/** One target. Renders again only when it changed. */
const TargetRow = React.memo(function TargetRow({
  target,
  lepton,
  trans,
  open
}: IRowProps): JSX.Element {
  const { name, sample } = target;
  const seen = sample?.time ?? 0;
  const old = useClock(now => now - seen > STALE);
  const stale = old || target.link !== 'connected';
  const [said, setSaid] = React.useState('');
  const [busy, setBusy] = React.useState(false);
  const [findings, setFindings] = React.useState<IFinding[] | null>(null);

  const act = async (what: () => Promise<unknown>): Promise<void> => {
    setBusy(true);
    setSaid('');
    try {
      await what();
    } catch (error) {
      setSaid(inWords(error));
    }
    setBusy(false);
  };
  const test = (): Promise<void> =>
    act(async () => setFindings((await lepton.api.testTarget(name)).findings));
  const remove = (): Promise<void> =>
    act(async () => {
      const answer = await showDialog({
        title: trans.__('Remove the target “%1”?', name),
        body: trans.__('It is taken out of your list. Its kernels and files on the host stay.'),
        buttons: [
          Dialog.cancelButton({ label: trans.__('Keep') }),
          Dialog.warnButton({ label: trans.__('Remove') })
        ]
      });
      if (answer.button.accept) {
        await lepton.api.removeTarget(name);
      }
    });
  const nameOf = (job: string): string => lepton.jobs.get(job)?.name || job;

  return (
    <li className={`lp-Target${stale ? ' jp-mod-stale' : ''}`} data-target={name} aria-busy={busy}>
      <div className="lp-Target-head">
        <button
          className="lp-Target-name"
          title={trans.__('Show %1 in the main area', name)}
          onClick={() => open(name)}
        >
          {name}
        </button>
        {target.is_default && (
          <span
            className="lp-Target-default"
            title={trans.__('Cells run here unless they say --on')}
          >
            {trans.__('default')}
          </span>
        )}
        <span className="lp-Target-tools">
          <Tool icon="✓" label={trans.__('Test %1', name)} disabled={busy} onClick={test} />
          {!target.is_default && (
            <Tool
              icon="★"
              label={trans.__('Make %1 the default', name)}
              disabled={busy}
              onClick={() => act(() => lepton.api.setDefaultTarget(name))}
            />
          )}
          <Tool icon="✕" label={trans.__('Remove %1', name)} disabled={busy} onClick={remove} />
          <Tool
            icon="⤢"
            label={trans.__('Show %1 in the main area', name)}
            onClick={() => open(name)}
          />
        </span>
      </div>
      <div className="lp-Target-where">
        <LinkMark link={target.link} trans={trans} />
        {target.link === 'connected' && target.latency !== null && (
          <span title={trans.__('Time for a question and its answer')}>
            {milliseconds(target.latency)}
          </span>
        )}
        <span>{target.kind}</span>
        <span className="lp-Target-address">{target.where}</span>
        {stale && sample && (
          <span className="lp-Target-seen">
            {trans.__('last seen')} <Ago time={seen} trans={trans} />
          </span>
        )}
      </div>
      {target.words && <div className="lp-Target-words">{target.words}</div>}
      {sample && <HostUse sample={sample} samples={target.samples} trans={trans} nameOf={nameOf} />}
      <div role="status">
        {busy && <span className="lp-Target-words">{trans.__('One moment…')}</span>}
        {said && <span className="lp-said jp-mod-error">{said}</span>}
      </div>
      {findings && <Findings findings={findings} trans={trans} onClose={() => setFindings(null)} />}
    </li>
  );
});

function Tool({
  icon,
  label,
  disabled,
  onClick
}: {
  icon: string;
  label: string;
  disabled?: boolean;
  onClick: () => unknown;
}): JSX.Element {
  return (
    <button
      className="lp-IconButton"
      title={label}
      aria-label={label}
      disabled={disabled}
      onClick={() => void onClick()}
    >
      <span aria-hidden="true">{icon}</span>
    </button>
  );
}
