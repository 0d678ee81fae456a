import { act } from 'react';

import { LineChart } from '../linechart';
import { Meter, Progress } from '../meter';
import { broken, byteTicks, elapsedTicks, extent, gaps, ticks, timeTicks } from '../scales';
import { Sparkline } from '../sparkline';
import { press, render, trans } from './render';

describe('scales', () => {
  it('marks round numbers', () => {
    expect(ticks(0, 100, 4)).toEqual([0, 50, 100]);
    expect(ticks(0.12, 0.48, 4)).toEqual([0.2, 0.3, 0.4]);
    expect(ticks(5, 5, 4)).toEqual([5]);
  });

  it('marks round amounts of memory', () => {
    const GB = 1024 ** 3;
    expect(byteTicks(0, 80 * GB, 4)).toEqual([0, 20 * GB, 40 * GB, 60 * GB, 80 * GB]);
    expect(byteTicks(0, 3000, 3)).toEqual([0, 1024, 2048]);
    expect(byteTicks(0, 0, 3)).toEqual([0]);
  });

  it('marks round moments', () => {
    const start = new Date(2026, 0, 1, 9, 58, 30).getTime() / 1000;
    const marks = timeTicks(start, start + 600, 5).map(time => new Date(time * 1000));
    expect(marks.map(date => date.getMinutes())).toEqual([0, 2, 4, 6, 8]);
    expect(marks.every(date => date.getSeconds() === 0)).toBe(true);
  });

  it('marks round durations', () => {
    expect(elapsedTicks(0, 600, 4)).toEqual([0, 300, 600]);
    expect(elapsedTicks(3, 20, 4)).toEqual([5, 10, 15, 20]);
    expect(elapsedTicks(0, 86400 * 300, 4)).toHaveLength(5);
  });

  it('leaves air around values, and bounds where there are none', () => {
    expect(extent([0, null, 10])).toEqual([-0.5, 10.5]);
    expect(extent([null])).toEqual([0, 1]);
    expect(extent([4])).toEqual([3.8, 4.2]);
  });

  it('breaks a line where nothing was measured, and finds the gaps that all lines share', () => {
    const line = broken([[0, 1], [5, 2], [60, 3]], 15); // prettier-ignore
    expect(line).toEqual([[0, 1], [5, 2], [32.5, null], [60, 3]]); // prettier-ignore
    expect(gaps([line])).toEqual([[5, 60]]);
    expect(gaps([line, [[32.5, 7]]])).toEqual([]);
    expect(gaps([[[0, null], [1, 2], [2, null]]])).toEqual([]); // prettier-ignore
  });
});

describe('Sparkline', () => {
  it('says its value and draws one stroke per stretch', () => {
    const points: [number, number | null][] = [[0, 1], [1, 2], [2, null], [3, 1], [4, 3]]; // prettier-ignore
    const { one } = render(<Sparkline points={points} width={60} height={16} label="loss 0.412" />);
    expect(one('svg').getAttribute('aria-label')).toBe('loss 0.412');
    expect(one('path').getAttribute('d')?.match(/M/g)).toHaveLength(2);
  });

  it('draws nothing, without an error, of no points', () => {
    const { one } = render(<Sparkline points={[]} width={60} height={16} label="no value" />);
    expect(one('path').getAttribute('d')).toBe('');
  });

  it('shows the value under the pointer', () => {
    const { one, host } = render(
      <Sparkline points={[[1, 0.9], [2, 0.4]]} width={60} height={16} label="loss" /> // prettier-ignore
    );
    act(() => {
      const move = new MouseEvent('pointermove', { bubbles: true, clientX: 0 });
      one('svg').dispatchEvent(move);
    });
    expect(host.textContent).toContain(': 0.');
  });

  it('draws no NaN when all values are one', () => {
    const { one } = render(<Sparkline points={[[1, 5], [2, 5]]} width={60} height={16} label="x" />); // prettier-ignore
    expect(one('path').getAttribute('d')).not.toContain('NaN');
  });
});

describe('LineChart', () => {
  const lines = [
    { name: 'GPU 0', points: [[0, 10], [5, 90], [10, null], [15, 50]] as [number, number | null][] }, // prettier-ignore
    { name: 'GPU 1', points: [[0, 1], [5, null], [15, 3]] as [number, number | null][] } // prettier-ignore
  ];
  const chart = (
    <LineChart
      title="Utilisation"
      lines={lines}
      trans={trans}
      domain={[0, 100]}
      format={v => `${v} %`}
    />
  );

  it('is read with the arrow keys', () => {
    const { one } = render(chart);
    const plot = one('[role=slider]');
    expect(plot.getAttribute('aria-valuetext')).toBe('15, GPU 0 50 %, GPU 1 3 %');
    press(plot, 'Home');
    expect(plot.getAttribute('aria-valuetext')).toBe('0, GPU 0 10 %, GPU 1 1 %');
    press(plot, 'ArrowRight');
    expect(plot.getAttribute('aria-valuetext')).toBe('5, GPU 0 90 %, GPU 1 not measured');
    press(plot, 'End');
    press(plot, 'ArrowRight');
    expect(plot.getAttribute('aria-valuenow')).toBe('3');
  });

  it('shows where nothing was measured', () => {
    const { host } = render(chart);
    expect(host.querySelectorAll('.lp-Chart-gap')).toHaveLength(1);
    expect(host.querySelectorAll('svg[width] .lp-Chart-line.jp-mod-0')).not.toHaveLength(0);
  });

  it('says so when there is no value at all', () => {
    const { host } = render(<LineChart title="Loss" lines={[]} trans={trans} />);
    expect(host.textContent).toContain('No values yet.');
  });

  it('shows names as text', () => {
    const evil = [
      { name: '<img src=x onerror="window.pwned=1">', points: [[0, 1]] as [number, number][] }
    ];
    const { host } = render(
      <LineChart title="<script>window.pwned=1</script>" lines={evil} trans={trans} />
    );
    expect(host.querySelector('img, script')).toBeNull();
    expect(host.textContent).toContain('<script>window.pwned=1</script>');
  });
});

describe('bars', () => {
  it('says how much is used', () => {
    const { one } = render(<Meter value={61} max={80} label="GPU 0 memory" text="61/80 GB" />);
    const bar = one('[role=meter]');
    expect(bar.getAttribute('aria-valuenow')).toBe('61');
    expect(bar.getAttribute('aria-valuetext')).toBe('61/80 GB');
    expect(one('.lp-Bar-fill').style.width).toBe('76.3%');
    expect(bar.classList.contains('jp-mod-full')).toBe(false);
  });

  it('marks what is nearly used up, and never draws beyond its end', () => {
    const { one } = render(<Meter value={90} max={80} label="memory" text="90/80 GB" />);
    expect(one('.jp-mod-full .lp-Bar-fill').style.width).toBe('100.0%');
  });

  it('is no meter where the host reports nothing', () => {
    const { host, one } = render(<Meter value={null} label="GPU 0 power" text="–" />);
    expect(host.querySelector('[role=meter]')).toBeNull();
    expect(one('[role=img]').getAttribute('aria-label')).toBe('GPU 0 power: –');
  });

  it('says progress, also when it is not known', () => {
    const { one, again } = render(<Progress fraction={0.354} label="resnet" text="epoch 7/20" />);
    expect(one('[role=progressbar]').getAttribute('aria-valuenow')).toBe('35');
    again(<Progress fraction={null} label="resnet" text="running" />);
    expect(one('[role=progressbar]').hasAttribute('aria-valuenow')).toBe(false);
  });
});
