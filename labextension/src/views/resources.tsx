/**
 * Samples of a host over time, as large charts. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { bytes, celsius, isNumber, percent, watts } from '../components/format';
import { LineChart, type ILine } from '../components/linechart';
import { broken, byteTicks } from '../components/scales';
import type { Point } from '../components/sparkline';
import { deviceName } from '../panels/devices';
import type { IDevice, ISample } from '../protocol';

/** A line breaks where the next sample came so many times later than usual. */
const PAUSE = 4;
/** Seconds that are no pause, however quick the samples before. */
const SHORTEST = 12;

/** The kinds of charts, in their order on the page. */
export interface IResourceLines {
  utilisation: ILine[];
  memory: ILine[];
  temperature: ILine[];
  power: ILine[];
  cpu: ILine[];
  ram: ILine[];
}

/** The lines of each chart; one that no sample has a value for has no line. */
export function resourceLines(
  samples: readonly ISample[],
  names: { host: string; kernel: string }
): IResourceLines {
  const pause = pauseOf(samples.map(({ time }) => time));
  const line = (name: string, value: (sample: ISample) => number | null | undefined): ILine[] => {
    const points: Point[] = samples.map(sample => [sample.time, value(sample) ?? null]);
    return points.some(point => isNumber(point[1]))
      ? [{ name, points: broken(points, pause) }]
      : [];
  };
  const devices = new Map<string, IDevice>();
  samples.forEach(sample => sample.devices.forEach(one => devices.set(deviceName(one), one)));
  const each = (value: (device: IDevice) => number | null): ILine[] =>
    [...devices.keys()].flatMap(name =>
      line(name, sample => {
        const device = sample.devices.find(one => deviceName(one) === name);
        return device && value(device);
      })
    );
  return {
    utilisation: each(({ util }) => util),
    memory: each(({ memory_used }) => memory_used),
    temperature: each(({ temperature }) => temperature),
    power: each(({ power }) => power),
    // A kernel's share counts cores (200 % are two), a host's is out of all of them.
    cpu: [
      ...line(names.host, ({ cpu }) => cpu.percent),
      ...line(names.kernel, ({ cpu, kernel }) =>
        kernel && isNumber(kernel.cpu) ? kernel.cpu / (cpu.count || 1) : null
      )
    ],
    ram: [
      ...line(names.host, ({ memory }) => memory.used),
      ...line(names.kernel, ({ kernel }) => kernel?.memory)
    ]
  };
}

/** How long a pause between two of these moments is one in which nobody measured. */
export function pauseOf(times: readonly number[]): number {
  const steps = times.slice(1).map((time, index) => time - times[index]);
  const usual = steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  return Math.max(SHORTEST, usual * PAUSE);
}

const SHARE: readonly [number, number] = [0, 100];

interface IProps {
  samples: readonly ISample[];
  trans: TranslationBundle;
  /** The utilisation of the devices where more of it is known than of the rest. */
  utilisation?: readonly ILine[];
  cpu?: readonly ILine[];
}

export const ResourceCharts = React.memo(function ResourceCharts({
  samples,
  trans,
  utilisation,
  cpu
}: IProps): JSX.Element {
  const lines = React.useMemo(
    () => resourceLines(samples, { host: trans.__('host'), kernel: trans.__('this kernel') }),
    [samples, trans]
  );
  const common = { trans, kind: 'time' } as const;
  return (
    <>
      {shown(utilisation ?? lines.utilisation, some => (
        <LineChart
          {...common}
          title={trans.__('Utilisation')}
          lines={some}
          domain={SHARE}
          format={percent}
        />
      ))}
      {shown(lines.memory, some => (
        <LineChart
          {...common}
          title={trans.__('Device memory')}
          lines={some}
          domain={[0, ceiling(samples, sample => sample.devices.map(one => one.memory_total))]}
          format={bytes}
          marks={byteTicks}
        />
      ))}
      {shown(lines.temperature, some => (
        <LineChart {...common} title={trans.__('Temperature')} lines={some} format={celsius} />
      ))}
      {shown(lines.power, some => (
        <LineChart {...common} title={trans.__('Power')} lines={some} format={watts} />
      ))}
      {shown(cpu ?? lines.cpu, some => (
        <LineChart
          {...common}
          title={trans.__('CPU')}
          lines={some}
          domain={SHARE}
          format={percent}
        />
      ))}
      {shown(lines.ram, some => (
        <LineChart
          {...common}
          title={trans.__('Memory')}
          lines={some}
          domain={[0, ceiling(samples, sample => [sample.memory.total])]}
          format={bytes}
          marks={byteTicks}
        />
      ))}
    </>
  );
});

function shown(
  lines: readonly ILine[],
  draw: (lines: readonly ILine[]) => JSX.Element
): JSX.Element | null {
  return lines.length ? draw(lines) : null;
}

/** The greatest total of the last sample; 1 where none is known. */
function ceiling(
  samples: readonly ISample[],
  totals: (sample: ISample) => (number | null)[]
): number {
  const last = samples[samples.length - 1];
  return Math.max(1, ...(last ? totals(last) : []).filter(isNumber));
}
