import { act } from 'react';

import { click, render, trans, waitFor } from '../../components/__tests__/render';
import type { IModel } from '../../protocol';
import { job, page, snapshot, type Answers, type IPage } from '../../views/__tests__/page';
import { ModelList, whenModels } from '../models';

const open = jest.fn();
let here: IPage;

function model(name: string, more: Partial<IModel> = {}): IModel {
  return {
    name,
    kind: 'torch.CNN',
    steps: ['Structured(keep=0.5)', 'Quantizing'],
    judged: 'accuracy',
    before: { bytes: 40960, zipped: 20480, memory: 40000, metric: 0.972, ms: 1.2 },
    after: { bytes: 2048, zipped: 1024, memory: 8000, metric: 0.968, ms: 0.4 },
    files: [{ name: `${name}.lepton`, size: 1024 }],
    ...more
  };
}

function show(answers: Answers, ...models: IModel[]): ReturnType<typeof render> {
  here = page(answers);
  const shown = render(<ModelList lepton={here.lepton} trans={trans} open={open} />);
  act(() => here.hear(snapshot(job('1'), job('2', { telemetry: { models } }))));
  return shown;
}

const cells = (host: HTMLElement): string[][] =>
  [...host.querySelectorAll('tbody tr')].map(row =>
    [...row.children].map(cell => cell.textContent ?? '')
  );

beforeEach(() => open.mockClear());
afterEach(() => here.dispose());

it('appears with the first model of any job, once', () => {
  here = page();
  const found = jest.fn();
  whenModels(here.lepton.jobs, found);
  here.hear(snapshot(job('1')));
  expect(found).not.toHaveBeenCalled();
  for (const number of [2, 3]) {
    const done = job('1', { telemetry: { models: [model('small')] } });
    here.hear({ type: 'change', number, jobs: [done] });
  }
  expect(found).toHaveBeenCalledTimes(1);
});

it('says what each model was and is', () => {
  const { host } = show({}, model('small'));
  expect(cells(host)).toEqual([
    ['on disk', '40 KB', '2 KB', '20×'],
    ['zipped', '20 KB', '1 KB', '20×'],
    ['in memory', '39 KB', '7.8 KB', '5.0×'],
    ['one answer', '1.2 ms', '0.4 ms', '3.0×'],
    ['accuracy', '0.972', '0.968', '']
  ]);
  expect(host.textContent).toContain('Structured(keep=0.5) → Quantizing');
  expect(host.textContent).toContain('torch.CNN · gpu1');
});

it('does not hide what became worse, and leaves out what was not measured', () => {
  const none = { bytes: null, zipped: null, memory: null, metric: null };
  const { host } = show(
    {},
    model('slow', { before: { ...none, ms: 1 }, after: { ...none, ms: 4 } })
  );
  expect(cells(host)).toEqual([['one answer', '1 ms', '4 ms', '0.3×, worse']]);
});

it('shows names as text and opens the job', () => {
  const { host, one } = show({}, model('<img src=x>'));
  expect(host.querySelector('img')).toBeNull();
  click(one('.lp-Model-name'));
  expect(open).toHaveBeenCalledWith('2');
});

it('has a file brought from its host before it is saved', async () => {
  const clicked = jest.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(() => {});
  const file = { id: 'file-7', name: 'small.lepton', kind: 'file' };
  const { one } = show(
    {
      'GET jobs/2/artifacts': () => ({ artifacts: [file], variables: [] }),
      'POST jobs/2/artifacts/file-7': () => ({})
    },
    model('small')
  );
  click(one('.lp-Model-files button'));
  await waitFor(() => clicked.mock.calls.length > 0);
  expect((clicked.mock.contexts[0] as HTMLAnchorElement).href).toContain('jobs/2/artifacts/file-7');
  expect(here.asked).toEqual(['GET jobs/2/artifacts', 'POST jobs/2/artifacts/file-7']);
  clicked.mockRestore();
});

it('says in words why a file cannot be had', async () => {
  const { one } = show({ 'GET jobs/2/artifacts': () => ({ artifacts: [] }) }, model('small'));
  click(one('.lp-Model-files button'));
  await waitFor(
    () =>
      one('[role=status]').textContent !== '' &&
      !one('[role=status]').textContent?.startsWith('On its way')
  );
  expect(one('[role=status]').textContent).toContain('no file small.lepton any more');
});
