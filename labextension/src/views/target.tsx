/**
 * One target in the main area: what its devices did, large, and who is on it. In the browser.
 */
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Ago, useClock } from '../components/clock';
import { bytes, milliseconds, UNKNOWN } from '../components/format';
import { LinkMark } from '../components/link';
import type { ILine } from '../components/linechart';
import { broken } from '../components/scales';
import { leptonIcon } from '../icons';
import { deviceName, history, HostUse } from '../panels/devices';
import { STALE } from '../panels/targets';
import type { IDevice, ISample, SampleRow } from '../protocol';
import type { ILepton } from '../tokens';
import { title } from '../words';
import { LiveWidget, useTarget, type ILook } from './live';
import { pauseOf, ResourceCharts } from './resources';

/** Samples that a view keeps: half an hour of looking. */
const KEPT = 1800;

export interface ITargetViewOptions {
  lepton: ILepton;
  trans: TranslationBundle;
  target: string;
  openJob: (id: string) => void;
}

export class TargetView extends LiveWidget {
  constructor(private readonly options: ITargetViewOptions) {
    super(options.lepton);
    this.addClass('lp-root');
    this.addClass('lp-View');
  }

  get target(): string {
    return this.options.target;
  }

  protected look(): ILook {
    return { targets: [this.target] };
  }

  protected override render(): JSX.Element {
    return <TargetPage {...this.options} />;
  }
}

/** The view as a widget of the main area; its id tells targets apart. */
export function createTargetView(options: ITargetViewOptions): MainAreaWidget<TargetView> {
  const widget = new MainAreaWidget({ content: new TargetView(options) });
  widget.id = `lepton-target-${encodeURIComponent(options.target)}`;
  widget.title.label = options.target;
  widget.title.caption = options.trans.__('The target %1', options.target);
  widget.title.icon = leptonIcon;
  widget.title.closable = true;
  widget.toolbar.hide();
  return widget;
}

function TargetPage({ lepton, trans, target: name, openJob }: ITargetViewOptions): JSX.Element {
  const target = useTarget(lepton.targets, name);
  const samples = useSamples(target?.sample ?? null);
  const stale = useClock(now => now - (target?.sample?.time ?? 0) > STALE);
  const nameOf = React.useCallback(
    (id: string): string => {
      const job = lepton.jobs.get(id);
      return job ? title(job, trans) : id;
    },
    [lepton, trans]
  );
  const [rows, devices, host] = [target?.samples, target?.sample?.devices, target?.sample?.host];
  const past = React.useMemo(
    () => (rows && devices ? pastLines(rows, devices, host || name) : {}),
    [rows, devices, host, name]
  );
  if (!target) {
    return (
      <p className="lp-View-empty">
        {target === null
          ? trans.__('There is no target “%1” any more.', name)
          : trans.__('One moment…')}
      </p>
    );
  }
  const { sample } = target;
  const old = stale || target.link !== 'connected';
  return (
    <div className={`lp-View-page${old ? ' jp-mod-stale' : ''}`}>
      <header className="lp-View-head">
        <h1>{target.name}</h1>
        <p className="lp-View-facts">
          <LinkMark link={target.link} trans={trans} />
          {target.link === 'connected' && target.latency !== null && (
            <span>{milliseconds(target.latency)}</span>
          )}
          <span>{target.kind}</span>
          <span>{target.where}</span>
          {target.is_default && <span>{trans.__('default')}</span>}
          {target.price_per_hour > 0 && (
            <span>{trans.__('%1 per hour', target.price_per_hour.toFixed(2))}</span>
          )}
          {target.kernels > 0 && <span>{trans._n('%1 kernel', '%1 kernels', target.kernels)}</span>}
          {sample && old && (
            <span className="lp-Target-seen">
              {trans.__('last seen')} <Ago time={sample.time} trans={trans} />
            </span>
          )}
        </p>
        {target.words && <p className="lp-View-words">{target.words}</p>}
      </header>
      {sample ? (
        <>
          <HostUse sample={sample} samples={target.samples} trans={trans} nameOf={nameOf} />
          <div className="lp-View-charts">
            <ResourceCharts samples={samples} trans={trans} {...past} />
          </div>
          <Processes sample={sample} trans={trans} nameOf={nameOf} openJob={openJob} />
        </>
      ) : (
        <p className="lp-View-empty">{trans.__('Nothing was measured there yet.')}</p>
      )}
    </div>
  );
}

/** The samples since the view was opened. */
function useSamples(sample: ISample | null): readonly ISample[] {
  const [samples, setSamples] = React.useState<readonly ISample[]>([]);
  React.useEffect(() => {
    if (sample) {
      setSamples(before =>
        before.length && before[before.length - 1].time >= sample.time
          ? before
          : [...before.slice(1 - KEPT), sample]
      );
    }
  }, [sample]);
  return samples;
}

/** What the server remembers from before the view was opened: utilisation only. */
function pastLines(
  rows: readonly SampleRow[],
  devices: readonly IDevice[],
  host: string
): { utilisation: ILine[]; cpu: ILine[] } {
  const pause = pauseOf(rows.map(([time]) => time));
  const line = (name: string, column: (row: SampleRow) => number | null): ILine => ({
    name,
    points: broken(history(rows, column), pause)
  });
  return {
    utilisation: devices.map((device, index) =>
      line(deviceName(device), row => row[2][index] ?? null)
    ),
    cpu: [line(host, row => row[1])]
  };
}

interface IProcessesProps {
  sample: ISample;
  trans: TranslationBundle;
  nameOf: (job: string) => string;
  openJob: (id: string) => void;
}

/** Every process on a device, and whose it is. */
function Processes({ sample, trans, nameOf, openJob }: IProcessesProps): JSX.Element | null {
  const rows = sample.devices.flatMap(device =>
    device.processes.map(process => ({ device, process }))
  );
  if (!rows.length) {
    return null;
  }
  return (
    <table className="lp-View-table">
      <caption>{trans.__('Who is on the devices')}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Device')}</th>
          <th scope="col">{trans.__('User')}</th>
          <th scope="col">{trans.__('Process')}</th>
          <th scope="col">{trans.__('Memory')}</th>
          <th scope="col">{trans.__('Job')}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ device, process }) => (
          <tr key={`${deviceName(device)} ${process.pid}`}>
            <td>{deviceName(device)}</td>
            <td>{process.user || UNKNOWN}</td>
            <td>
              {process.pid} {process.name}
            </td>
            <td>{bytes(process.memory)}</td>
            <td>
              {process.job ? (
                <button className="lp-TextLink" onClick={() => openJob(process.job)}>
                  {nameOf(process.job)}
                </button>
              ) : (
                UNKNOWN
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
