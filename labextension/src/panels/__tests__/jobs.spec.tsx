import { CommandRegistry } from '@lumino/commands';
import { act } from 'react';

import { job } from '../../__tests__/jobs';
import { JobActions } from '../../actions';
import { Away } from '../../away';
import {
  click,
  press,
  render,
  trans,
  type,
  type IRendered
} from '../../components/__tests__/render';
import { CommandIDs } from '../../ids';
import type { IJob, Message } from '../../protocol';
import { JobSelection } from '../../selection';
import { page, type IPage } from '../../views/__tests__/page';
import { Jobs } from '../jobs';

const HEIGHT = 300;

let here: IPage;
let away: Away;
let selection: JobSelection;
let ran: string[];

beforeAll(() => {
  // jsdom lays nothing out; the list asks how much of it one sees.
  Object.defineProperty(HTMLElement.prototype, 'clientHeight', {
    configurable: true,
    get: () => HEIGHT
  });
  globalThis.ResizeObserver ??= class {
    observe(): void {}
    unobserve(): void {}
    disconnect(): void {}
  };
});
afterEach(() => {
  away.dispose();
  here.dispose();
});

function show(jobs: IJob[] | null, seen = Date.now() / 1000): IRendered {
  localStorage.setItem('seen', String(seen));
  here = page();
  away = new Away(here.lepton.jobs, 'seen');
  selection = new JobSelection();
  ran = [];
  const commands = new CommandRegistry();
  for (const id of [CommandIDs.goToCell, CommandIDs.stop]) {
    commands.addCommand(id, { label: id, execute: args => ran.push(`${id} ${String(args.job)}`) });
  }
  const actions = new JobActions(here.lepton, trans);
  const shown = render(
    <Jobs jobs={here.lepton.jobs} {...{ actions, away, selection, commands, trans }} />
  );
  if (jobs) {
    hear({ type: 'jobs', after: 0, number: 1, jobs, more: false, reset: true });
  }
  return shown;
}

function hear(message: Message): void {
  act(() => here.hear(message));
}

const rows = ({ host }: IRendered): HTMLElement[] => [
  ...host.querySelectorAll<HTMLElement>('.lp-Job')
];
const titles = (shown: IRendered): (string | null | undefined)[] =>
  rows(shown).map(row => row.querySelector('.lp-Job-title')?.textContent);

describe('with nothing to list', () => {
  it('says that it waits', () => {
    expect(show(null).host.textContent).toContain('Waiting');
  });

  it('shows what has come while the rest is on its way', () => {
    const shown = show(null);
    const jobs = [job(1, { name: 'newest' })];
    hear({ type: 'jobs', after: 0, number: 1, jobs, more: true, reset: true });
    expect(titles(shown)).toEqual(['newest']);
  });

  it('teaches the first command', () => {
    expect(show([]).host.textContent).toContain('%%lepton_train --on local');
  });
});

describe('a row', () => {
  it('says what runs, where, how far it is and what remains', () => {
    const progress = {
      fraction: 0.35,
      done: 7,
      total: 20,
      unit: 'epoch',
      eta: 840,
      time: Date.now() / 1000
    };
    const metric = {
      name: 'loss',
      value: 0.412,
      points: [
        [1, 2],
        [2, 0.412]
      ] as [number, number][]
    };
    const shown = show([job(1, { cost: 1.234, telemetry: { progress, metric } })]);
    const { textContent } = shown.one('.lp-Job');
    for (const words of [
      'cell 1',
      'Running',
      'train',
      'gpu1',
      '35 %',
      'epoch 7/20',
      '14 min left',
      'loss 0.412',
      'cost 1.23'
    ]) {
      expect(textContent).toContain(words);
    }
    expect(shown.one('[role=progressbar]').getAttribute('aria-valuenow')).toBe('35');
    expect(shown.one('.lp-Sparkline svg').getAttribute('aria-label')).toBe('loss 0.412');
  });

  it('says why it failed, and where the outputs are', () => {
    const shown = show([
      job(1, {
        state: 'FAILED',
        ended: 1_000_100,
        cause: 'CUDA out of memory',
        written: { state: 'gone' }
      })
    ]);
    expect(shown.one('.lp-Job-cause').textContent).toBe('CUDA out of memory');
    expect(shown.one('.lp-Job-note').textContent).toContain('cell gone');
    expect(shown.one('.lp-Job-state').textContent).toBe('Failed');
  });

  it('shows what comes from elsewhere as text', () => {
    const evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
    const shown = show([
      job(1, {
        name: evil,
        target: evil,
        path: evil,
        state: 'FAILED',
        cause: evil,
        ended: 1_000_100
      })
    ]);
    expect(shown.host.querySelector('img, script')).toBeNull();
    expect(shown.one('.lp-Job-title').textContent).toBe(evil);
  });
});

describe('the list', () => {
  it('draws only what one sees of 5,000 jobs, and only that again', () => {
    const shown = show(
      Array.from({ length: 5000 }, (_, i) => job(i, { state: 'COMPLETED', ended: 2_000_000 }))
    );
    expect(rows(shown).length).toBeLessThan(30);
    expect(rows(shown)[0].getAttribute('aria-setsize')).toBe('5000');
    const before = rows(shown);
    hear({
      type: 'change',
      number: 2,
      jobs: [job(4999, { state: 'FAILED', ended: 2_000_000 }), job(7, { state: 'FAILED' })]
    });
    expect(rows(shown)[1]).toBe(before[1]);
    expect(rows(shown)[0].dataset.state).toBe('FAILED');
  });

  it('finds by text and by state', () => {
    const shown = show([
      job(1),
      job(2, { state: 'FAILED', ended: 1_000_100 }),
      job(3, { name: 'evaluate' })
    ]);
    const chips = [...shown.host.querySelectorAll<HTMLElement>('.lp-Chip')];
    expect(chips.map(({ textContent }) => textContent)).toEqual(['Running 2', 'Failed 1']);
    click(chips[1]);
    expect(titles(shown)).toEqual(['cell 2']);
    click(chips[1]);
    type(shown.one('input'), 'evalu');
    expect(titles(shown)).toEqual(['evaluate']);
    type(shown.one('input'), 'nothing like it');
    click(shown.one('.lp-Empty button'));
    expect(titles(shown)).toHaveLength(3);
  });

  it('is walked with the arrow keys, and its buttons act on the row', () => {
    const shown = show([job(1), job(2), job(3)]);
    const list = shown.one('[role=listbox]');
    act(() => list.focus());
    expect(selection.id).toBe('job3');
    press(list, 'ArrowDown');
    press(list, 'End');
    press(list, 'ArrowUp');
    expect(selection.id).toBe('job2');
    expect(list.getAttribute('aria-activedescendant')).toBe(shown.one('[aria-selected=true]').id);
    const stop = shown.one(`[role=toolbar] [aria-label="${CommandIDs.stop}"]`);
    click(stop);
    expect(ran).toEqual(['lepton:stop job2']);
  });
});

it('says what happened while one was away, until that is dismissed', () => {
  const now = Date.now() / 1000;
  const shown = show(
    [
      job(1, { state: 'COMPLETED', ended: now - 60 }),
      job(2, { state: 'FAILED', ended: now - 50 }),
      job(3)
    ],
    now - 3600
  );
  expect(shown.one('.lp-Away').textContent).toBe('While you were away:1 finished1 failed');
  click(shown.host.querySelectorAll('.lp-Away .lp-TextLink')[1]);
  expect(titles(shown)).toEqual(['cell 2']);
  expect(selection.id).toBe('job2');
  click(shown.one('.lp-Away .lp-IconButton'));
  expect(shown.host.querySelector('.lp-Away')).toBeNull();
});
