import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { act } from 'react';

import { click, render, trans, waitFor } from '../../components/__tests__/render';
import { CommandIDs } from '../../ids';
import type { IArtifact, IVariable } from '../../protocol';
import { ApiError } from '../../request';
import { Artifacts } from '../artifacts';
import { Fresh } from '../fresh';
import { createJobView } from '../job';
import { pauseOf, resourceLines } from '../resources';
import { createTargetView } from '../target';
import { job, page, sample, settle, snapshot, target, type Answers, type IPage } from './page';

const now = (): number => Date.now() / 1000;
const stop = jest.fn();
const commands = new CommandRegistry();
commands.addCommand(CommandIDs.stop, { label: 'Stop', execute: args => stop(args) as unknown });
commands.addCommand(CommandIDs.retry, {
  label: 'Run again',
  isVisible: () => false,
  execute: () => null
});

const displayed = (name: string, mime: string): IArtifact => {
  return { id: name, name, kind: 'output', mime, size: 2048, url: '' };
};
const left = (id: string, name: string, url = ''): IArtifact => {
  return { id, name, kind: 'file', mime: 'application/octet-stream', size: 2048, url };
};

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
            metric: { name: 'loss', value: 0.41, points: [[1, 0.9], [2, 0.41]] }, // prettier-ignore
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

describe('the files of a job', () => {
  const bring = jest.fn<Promise<void>, [string]>(() => Promise.resolve());
  const saved: string[] = [];
  const shownFiles = (
    list: IArtifact[],
    variables: IVariable[] = [],
    unlisted = 0
  ): ReturnType<typeof render> =>
    render(
      <Artifacts
        job="1"
        list={list}
        variables={variables}
        unlisted={unlisted}
        url={id => `/x/${id}`}
        bring={bring}
        trans={trans}
      />
    );
  beforeEach(() => {
    saved.length = 0;
    bring.mockClear();
    jest.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (
      this: HTMLAnchorElement
    ) {
      saved.push(this.getAttribute('href') ?? '');
    });
  });
  afterEach(() => jest.restoreAllMocks());

  it('are pictures only where a browser draws them, and downloads all', () => {
    const list = [
      displayed('a.png', 'image/png'),
      displayed('b.svg', 'image/svg+xml'),
      displayed('c.html', 'text/html')
    ];
    const { host } = shownFiles(list);
    expect([...host.querySelectorAll('img')].map(image => image.getAttribute('src'))).toEqual([
      '/x/a.png'
    ]);
    expect(host.querySelectorAll('a[download]')).toHaveLength(3);
  });

  it('are brought from their host and then saved, by our id and not by their name', async () => {
    let arrive = (): void => undefined;
    bring.mockReturnValueOnce(new Promise(resolve => (arrive = resolve)));
    const { host, one } = shownFiles([left('file-1', '../out-01.png', 's3://bucket/x')]);
    expect(one('li').textContent).toContain('../out-01.png2 KB · s3://bucket/x');
    const button = one('button');
    expect(button.getAttribute('aria-label')).toBe('Download ../out-01.png');
    click(button);
    click(button);
    expect(bring.mock.calls).toEqual([['file-1']]);
    expect(one('[role=status]').textContent).toBe('On its way from its host…');
    expect([button.getAttribute('aria-disabled'), saved.length]).toEqual(['true', 0]);
    arrive();
    await waitFor(() => saved.length > 0);
    expect(saved).toEqual(['/x/file-1']);
    expect(one('[role=status]').textContent).toBe('');
    expect(host.querySelector('img')).toBeNull();
  });

  it('say why they do not come', async () => {
    bring.mockRejectedValueOnce(new ApiError(410, 'gpu1 does not keep it any more', 'Run it.'));
    const { one } = shownFiles([left('file-1', 'model.bin')]);
    click(one('button'));
    await waitFor(() => one('button').getAttribute('aria-disabled') === 'false');
    expect(one('[role=status]').textContent).toBe('gpu1 does not keep it any more. Run it.');
    expect(saved).toEqual([]);
  });

  it('have the variables beside them, and how they come', () => {
    const { host } = shownFiles(
      [],
      [
        { name: 'w', words: 'ndarray (3, 4)', size: 96 },
        { name: 'f', words: 'no safe format', size: null }
      ]
    );
    const lines = [...host.querySelectorAll('li')].map(({ textContent }) => textContent);
    expect(lines).toEqual(['wndarray (3, 4), 96 B', 'fno safe format']);
    expect(host.textContent).toContain('%lepton_fetch 1 brings the variables into a notebook.');
  });

  it('are many at most, and the rest is said', () => {
    const many = Array.from({ length: 205 }, (_, n) => left(`file-${n + 1}`, `part-${n}`));
    const { host } = shownFiles(many);
    expect(host.querySelectorAll('li')).toHaveLength(200);
    expect(host.textContent).toContain('5 more; %lepton_fetch 1 brings all.');
    const { host: fuller } = shownFiles(many, [], 20000);
    expect(fuller.textContent).toContain('20005 more; %lepton_fetch 1 brings all.');
  });
});

describe('Fresh', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('never asks twice at a time, and once more for all that happened meanwhile', async () => {
    const pending: ((text: string) => void)[] = [];
    const heard: unknown[] = [];
    const fresh = new Fresh<string>(
      () => new Promise(resolve => pending.push(resolve)),
      ({ value }) => heard.push(value)
    );
    fresh.want();
    fresh.want();
    fresh.want();
    expect(pending).toHaveLength(1);
    pending[0]('one');
    await jest.advanceTimersByTimeAsync(500);
    expect([heard, pending.length]).toEqual([['one'], 1]);
    await jest.advanceTimersByTimeAsync(600);
    expect(pending).toHaveLength(2);
    fresh.dispose();
    pending[1]('two');
    await jest.advanceTimersByTimeAsync(5000);
    expect(heard).toEqual(['one']);
  });

  it('waits the longer the longer an answer takes', async () => {
    let asked = 0;
    const fresh = new Fresh<void>(
      () => {
        asked += 1;
        return new Promise(resolve => window.setTimeout(resolve, 2000));
      },
      () => undefined
    );
    fresh.want();
    fresh.want();
    await jest.advanceTimersByTimeAsync(7900);
    expect(asked).toBe(1);
    await jest.advanceTimersByTimeAsync(200);
    expect(asked).toBe(2);
    fresh.dispose();
  });

  it('keeps the last answer when an attempt fails', async () => {
    const heard: unknown[] = [];
    let works = true;
    const fresh = new Fresh<string>(
      () => (works ? Promise.resolve('text') : Promise.reject(new Error('no'))),
      one => heard.push(one)
    );
    fresh.want();
    await jest.advanceTimersByTimeAsync(1500);
    works = false;
    fresh.want();
    await jest.advanceTimersByTimeAsync(0);
    expect(heard).toEqual([
      { value: 'text', error: undefined },
      { value: 'text', error: new Error('no') }
    ]);
    fresh.dispose();
  });
});
