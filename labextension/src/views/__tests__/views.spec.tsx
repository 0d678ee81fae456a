import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { act } from 'react';

import { click, trans } from '../../components/__tests__/render';
import { CommandIDs } from '../../ids';
import { createJobView } from '../job';
import { pauseOf, resourceLines } from '../resources';
import { createTargetView } from '../target';
import {
  displayed,
  job,
  left,
  page,
  sample,
  settle,
  snapshot,
  target,
  type Answers,
  type IPage
} from './page';

const now = (): number => Date.now() / 1000;
const stop = jest.fn();
const commands = new CommandRegistry();
commands.addCommand(CommandIDs.stop, { label: 'Stop', execute: args => stop(args) as unknown });
commands.addCommand(CommandIDs.retry, {
  label: 'Run again',
  isVisible: () => false,
  execute: () => null
});

let here: IPage;
let shown: Widget | null = null;

beforeAll(() => {
  Element.prototype.scrollIntoView = () => undefined;
});
afterEach(() => {
  act(() => shown?.dispose());
  here?.dispose();
});

async function attach(widget: Widget): Promise<HTMLElement> {
  shown = widget;
  await act(async () => {
    Widget.attach(widget, document.body);
    await settle();
  });
  return widget.node;
}

async function hear(message: Parameters<IPage['hear']>[0]): Promise<void> {
  await act(async () => {
    here.hear(message);
    await settle();
  });
}

describe('the view of a job', () => {
  const answers: Answers = {
    'GET jobs/1': () => ({ ...job('1'), code: 'for epoch in range(20): <b>train()</b>' }),
    'GET jobs/1/logs': () => 'epoch 1\nepoch 2\n',
    'GET jobs/1/history': () => ({
      samples: [sample(100, [20]), sample(105, [26])],
      words: 'GPU 23 % busy: the input pipeline is the limit'
    }),
    'GET jobs/1/artifacts': () => ({
      artifacts: [displayed('plot.png', 'image/png'), left('file-1', 'model.bin')],
      variables: []
    })
  };
  const view = (): Widget => createJobView({ lepton: here.lepton, commands, trans, job: '1' });

  it('tells how the job stands, and shows its charts, log, files and code', async () => {
    here = page(answers);
    here.hear(
      snapshot(
        job('1', {
          started: now() - 130,
          cost: 1.5,
          telemetry: {
            metric: { name: 'loss', value: 0.41, points: [[1, 0.9], [2, 0.41]], count: 1200, others: 2, recorded: true }, // prettier-ignore
            progress: { fraction: 0.35, done: 7, total: 20, unit: 'epoch', eta: 840, time: now() }
          }
        })
      )
    );
    const node = await attach(view());
    expect(node.querySelector('h1')?.textContent).toContain('job 1');
    expect(node.querySelector('.lp-View-facts')?.textContent).toContain('running for 2 min');
    expect(node.textContent).toContain('cost 1.50');
    expect(node.textContent).toContain('epoch 7/20 · 35 % · 14 min left');
    expect(node.textContent).toContain('GPU 23 % busy');
    expect(node.textContent).toContain(
      '2 of 1,200 values drawn · 2 other metrics: %lepton_metrics 1'
    );
    const charts = [...node.querySelectorAll('.lp-Chart-title')].map(
      ({ firstChild }) => firstChild?.textContent
    );
    expect(charts).toEqual([
      'loss',
      'Utilisation',
      'Device memory',
      'Temperature',
      'Power',
      'CPU',
      'Memory'
    ]);
    expect(node.querySelectorAll('.lp-Log-line')).toHaveLength(2);
    expect(node.querySelector('.lp-Artifacts a')?.getAttribute('href')).toContain(
      'jobs/1/artifacts/plot.png'
    );
    expect(node.querySelector('.lp-View-code pre')?.textContent).toContain('<b>train()</b>');
    click(node.querySelector('.lp-View-actions button') as Element);
    expect(stop).toHaveBeenCalledWith({ job: '1' });
    expect(node.querySelectorAll('.lp-View-actions button')).toHaveLength(1);
  });

  it('fetches the log again when there is more of it, and not otherwise', async () => {
    here = page(answers);
    here.hear(snapshot(job('1')));
    await attach(view());
    const logs = (): number => here.asked.filter(request => request === 'GET jobs/1/logs').length;
    expect(logs()).toBe(1);
    await hear({ type: 'change', number: 2, jobs: [job('1', { cost: 2 })] });
    await act(() => new Promise(resolve => setTimeout(resolve, 1100)));
    expect(logs()).toBe(1);
    await hear({ type: 'change', number: 3, jobs: [job('1', { seq: 2 })] });
    expect(logs()).toBe(2);
  });

  it('asks for nothing while it is hidden', async () => {
    here = page(answers);
    here.hear(snapshot(job('1')));
    const widget = view();
    widget.hide();
    await attach(widget);
    expect(here.asked).toEqual([]);
    await act(async () => {
      widget.show();
      await settle();
    });
    expect(here.asked).toContain('GET jobs/1/logs');
    expect(here.said.filter(({ type }) => type === 'look').pop()).toMatchObject({ jobs: ['1'] });
  });

  it('shows why it failed, and where its outputs are', async () => {
    here = page(answers);
    const ended = {
      state: 'FAILED',
      ended: now() - 60,
      cause: 'CUDA out of memory (79.1/80 GB)'
    } as const;
    here.hear(
      snapshot(job('1', { ...ended, written: { state: 'gone', words: 'cell gone – open result' } }))
    );
    const node = await attach(view());
    expect(node.querySelector('.lp-View-cause')?.textContent).toBe(ended.cause);
    expect(node.querySelector('.lp-View-written')?.textContent).toBe('cell gone – open result');
    await hear({
      type: 'change',
      number: 2,
      jobs: [job('1', { ...ended, written: { state: 'written' } })]
    });
    expect(node.querySelector('.lp-View-written')?.textContent).toContain('in the notebook');
  });

  it('takes its words from the server when the job is not among the known', async () => {
    here = page({ ...answers, 'GET jobs/1': () => 404 });
    const node = await attach(view());
    expect(node.textContent).toContain('cannot. Do this.');
  });

  it('names its tab after the job, once that is known', () => {
    here = page(answers);
    const widget = view();
    shown = widget;
    expect(widget.title.label).toBe('job 1');
    here.hear(snapshot(job('1', { name: 'train' })));
    expect(widget.title.label).toBe('train');
    expect(widget.id).toBe('lepton-job-1');
  });

  it('runs nothing that a job displayed or is called', async () => {
    const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
    here = page({
      'GET jobs/1/logs': () => evil,
      'GET jobs/1/history': () => ({ samples: [], words: evil }),
      'GET jobs/1/artifacts': () => ({
        artifacts: [displayed(evil, 'text/html'), left('file-1', evil, evil)],
        variables: [{ name: evil, words: evil, size: 1 }]
      })
    });
    here.hear(
      snapshot(job('1', { name: evil, state: 'FAILED', cause: evil, target: evil, kernel: evil }))
    );
    const node = await attach(view());
    expect(node.querySelector('img, script')).toBeNull();
    expect(node.querySelector('.lp-Log-line')?.textContent).toBe(evil);
  });
});

describe('the view of a target', () => {
  const view = (): Widget =>
    createTargetView({ lepton: here.lepton, trans, target: 'gpu1', openJob: stop });

  it('shows devices over time, from before it was opened too', async () => {
    here = page();
    const rows: [number, number, number[]][] = [[now() - 2, 10, [50]], [now() - 1, 20, [60]]]; // prettier-ignore
    here.hear({
      type: 'targets',
      targets: [target('gpu1', { sample: sample(now(), [60]), samples: rows, price_per_hour: 2.1 })]
    });
    const node = await attach(view());
    expect(node.querySelector('h1')?.textContent).toBe('gpu1');
    expect(node.textContent).toContain('2.10 per hour');
    const charts = [...node.querySelectorAll('.lp-Chart-title')].map(
      ({ firstChild }) => firstChild?.textContent
    );
    expect(charts).toContain('Utilisation');
    const plot = node.querySelector('.lp-Chart-plot');
    expect(plot?.getAttribute('aria-valuemax')).toBe('2');
    expect(plot?.getAttribute('aria-valuetext')).toContain('GPU 0 60 %');
    expect(here.said.filter(({ type }) => type === 'look').pop()).toMatchObject({
      targets: ['gpu1']
    });
    await hear({ type: 'sample', target: 'gpu1', sample: sample(now() + 1, [77]), latency: null });
    expect(node.querySelector('.lp-Chart-plot')?.getAttribute('aria-valuetext')).toContain(
      'GPU 0 77 %'
    );
  });

  it('names the processes and leads to their jobs', async () => {
    here = page();
    const busy = sample(now(), [60]);
    busy.devices[0].processes = [{ pid: 7, user: 'ann', name: 'python', memory: null, job: 'j1' }];
    here.hear({ type: 'targets', targets: [target('gpu1', { sample: busy })] });
    const node = await attach(view());
    const cells = [...node.querySelectorAll('tbody td')].map(({ textContent }) => textContent);
    expect(cells).toEqual(['GPU 0', 'ann', '7 python', '–', 'j1']);
    click(node.querySelector('tbody button') as Element);
    expect(stop).toHaveBeenCalledWith('j1');
  });

  it('says so when the target is gone', async () => {
    here = page();
    const node = await attach(view());
    expect(node.textContent).toContain('One moment…');
    await hear({ type: 'targets', targets: [] });
    expect(node.textContent).toContain('There is no target “gpu1” any more.');
  });
});

describe('lines of resources', () => {
  const names = { host: 'host', kernel: 'kernel' };

  it('has no line for what nobody reported', () => {
    const lines = resourceLines([sample(1, [null])], names);
    expect([lines.utilisation, lines.temperature, lines.power]).toEqual([[], [], []]);
    expect(lines.cpu.map(({ name }) => name)).toEqual(['host']);
  });

  it('follows a device that comes and goes, and the share of the kernel', () => {
    const second = {
      ...sample(5, [10, 20]),
      kernel: { cpu: 800, memory: 5, gpu_memory: null, processes: 1 }
    };
    const lines = resourceLines([sample(0, [5]), second, sample(60, [7])], names);
    expect(lines.utilisation[1].points).toEqual([[0, null], [5, 20], [60, null]]); // prettier-ignore
    expect(lines.utilisation[0].points).toHaveLength(3);
    expect(lines.cpu[1].points[1]).toEqual([5, 50]);
  });

  it('breaks where nobody measured', () => {
    expect(pauseOf([0, 1, 2, 3])).toBe(12);
    expect(pauseOf([0, 20, 40, 60])).toBe(80);
    expect(pauseOf([])).toBe(12);
  });
});
