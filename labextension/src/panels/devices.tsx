/**
 * What a host is doing: its accelerators, its processor, memory and disk, and whose work that is. Shown in the sidebar and,
 * with more room, in the view of a target. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { bytes, bytesOf, celsius, isNumber, percent, UNKNOWN, watts } from '../components/format';
import { Meter } from '../components/meter';
import { Sparkline, type Point } from '../components/sparkline';
import type { IDevice, IDeviceProcess, ISample, SampleRow } from '../protocol';

const FULL: readonly [number, number] = [0, 100];
const SPARK_WIDTH = 64;
const SPARK_HEIGHT = 16;
/** Holders and waiting jobs that are named; of the others the number is. */
const NAMED = 3;

interface IProps {
  sample: ISample;
  samples: readonly SampleRow[];
  trans: TranslationBundle;
  /** The name of a job by its id. */
  nameOf: (job: string) => string;
}

export function HostUse({ sample, samples, trans, nameOf }: IProps): JSX.Element {
  return (
    <div className="lp-Host">
      {sample.devices.map((device, index) => (
        <DeviceUse
          key={`${device.kind}${device.index}`}
          device={device}
          points={history(samples, row => row[2][index])}
          trans={trans}
          nameOf={nameOf}
        />
      ))}
      <HostLine sample={sample} samples={samples} trans={trans} />
      {sample.queue.length > 0 && <Queue sample={sample} trans={trans} nameOf={nameOf} />}
    </div>
  );
}

/** "GPU 0". */
export function deviceName(device: IDevice): string {
  return `${device.kind.toUpperCase()} ${device.index}`;
}

function DeviceUse({
  device,
  points,
  trans,
  nameOf
}: {
  device: IDevice;
  points: Point[];
  trans: TranslationBundle;
  nameOf: (job: string) => string;
}): JSX.Element {
  const name = deviceName(device);
  const memory = bytesOf(device.memory_used, device.memory_total);
  return (
    <div className="lp-Device" role="group" aria-label={`${name} ${device.name}`}>
      <div className="lp-Device-line">
        <span className="lp-Device-name" title={device.name}>
          {name}
        </span>
        <Meter
          value={device.util}
          label={trans.__('%1 utilisation', name)}
          text={percent(device.util)}
        />
        <span className="lp-Device-figure">{percent(device.util)}</span>
        <Sparkline
          points={points}
          width={SPARK_WIDTH}
          height={SPARK_HEIGHT}
          domain={FULL}
          label={trans.__('%1 utilisation over ten minutes, now %2', name, percent(device.util))}
          format={timed}
        />
      </div>
      <div className="lp-Device-line jp-mod-more">
        <Meter
          value={device.memory_used}
          max={device.memory_total ?? 0}
          label={trans.__('%1 memory', name)}
          text={memory}
        />
        <span className="lp-Device-figure" title={trans.__('Memory')}>
          {memory}
        </span>
        <span className="lp-Device-figure" title={trans.__('Temperature')}>
          {celsius(device.temperature)}
        </span>
        <span className="lp-Device-figure" title={trans.__('Power')}>
          {watts(device.power)}
        </span>
      </div>
      {device.processes.length > 0 && (
        <Holders processes={device.processes} trans={trans} nameOf={nameOf} />
      )}
    </div>
  );
}

/** Who holds the device: the job where it is one of ours, else the user and the program. */
function Holders({
  processes,
  trans,
  nameOf
}: {
  processes: readonly IDeviceProcess[];
  trans: TranslationBundle;
  nameOf: (job: string) => string;
}): JSX.Element {
  const sorted = [...processes].sort((a, b) => (b.memory ?? 0) - (a.memory ?? 0));
  const rest = sorted.length - NAMED;
  return (
    <ul className="lp-Holders" aria-label={trans.__('In use by')}>
      {sorted.slice(0, NAMED).map(process => (
        <li key={process.pid} title={trans.__('Process %1: %2', process.pid, process.name)}>
          {holder(process, nameOf)}
          {isNumber(process.memory) && <span> {bytes(process.memory)}</span>}
        </li>
      ))}
      {rest > 0 && <li>{trans._n('and %1 more', 'and %1 more', rest)}</li>}
    </ul>
  );
}

export function holder(process: IDeviceProcess, nameOf: (job: string) => string): string {
  const what = process.job ? nameOf(process.job) : process.name;
  return [process.user, what].filter(Boolean).join(': ') || String(process.pid);
}

function HostLine({
  sample,
  samples,
  trans
}: {
  sample: ISample;
  samples: readonly SampleRow[];
  trans: TranslationBundle;
}): JSX.Element {
  const { cpu, memory, disk } = sample;
  const cores = isNumber(cpu.count) ? trans._n('%1 core', '%1 cores', cpu.count) : UNKNOWN;
  return (
    <div className="lp-Device" role="group" aria-label={trans.__('Host')}>
      <div className="lp-Device-line">
        <span className="lp-Device-name" title={cores}>
          {trans.__('CPU')}
        </span>
        <Meter value={cpu.percent} label={trans.__('CPU')} text={percent(cpu.percent)} />
        <span className="lp-Device-figure">{percent(cpu.percent)}</span>
        <Sparkline
          points={history(samples, row => row[1])}
          width={SPARK_WIDTH}
          height={SPARK_HEIGHT}
          domain={FULL}
          label={trans.__('CPU over ten minutes, now %1', percent(cpu.percent))}
          format={timed}
        />
      </div>
      <div className="lp-Device-line jp-mod-host">
        <span className="lp-Device-figure">
          {trans.__('RAM %1', bytesOf(memory.used, memory.total))}
        </span>
        <span className="lp-Device-figure" title={disk.path}>
          {trans.__('disk %1', bytesOf(disk.used, disk.total))}
        </span>
      </div>
    </div>
  );
}

function Queue({
  sample,
  trans,
  nameOf
}: {
  sample: ISample;
  trans: TranslationBundle;
  nameOf: (job: string) => string;
}): JSX.Element {
  const waiting = sample.queue.filter(({ state }) => state === 'NEW' || state === 'QUEUED');
  const running = sample.queue.filter(job => !waiting.includes(job));
  const names = (jobs: typeof waiting): string => {
    const shown = jobs.slice(0, NAMED).map(({ job, name }) => name || nameOf(job));
    const rest = jobs.length - shown.length;
    return [...shown, ...(rest > 0 ? [trans._n('and %1 more', 'and %1 more', rest)] : [])].join(
      ', '
    );
  };
  return (
    <ul className="lp-Queue" aria-label={trans.__('Jobs here')}>
      {running.length > 0 && (
        <li>
          <span aria-hidden="true">▶</span> {trans.__('running: %1', names(running))}
        </li>
      )}
      {waiting.length > 0 && (
        <li>
          <span aria-hidden="true">⏸</span> {trans.__('waiting: %1', names(waiting))}
        </li>
      )}
    </ul>
  );
}

/** One column of a target's history, with gaps where it was not looked at. */
export function history(
  samples: readonly SampleRow[],
  column: (row: SampleRow) => number | null | undefined
): Point[] {
  return samples.map(row => [row[0], column(row) ?? null]);
}

function timed(x: number, value: number): string {
  return `${new Date(x * 1000).toLocaleTimeString()} ${percent(value)}`;
}
