import { YNotebook, type YCodeCell } from '@jupyter/ydoc';
import { CodeCellModel } from '@jupyterlab/cells';
import type { IOutput } from '@jupyterlab/nbformat';

import { distrust, findCell, hasLiveCard, jobOf, mark, setOutputs, shows } from '../outputs';

const text = (value: string, name = 'stdout'): IOutput => ({
  output_type: 'stream',
  name,
  text: value
});
const shown = (data: string, metadata = {}): IOutput => ({
  output_type: 'display_data',
  data: { 'text/html': data },
  metadata
});

let notebook: YNotebook;

function cell(id: string, outputs: IOutput[] = [], metadata = {}): CodeCellModel {
  const made = notebook.addCell({ cell_type: 'code', source: 'x', id, outputs, metadata });
  return new CodeCellModel({ sharedModel: made as YCodeCell });
}

const content = (outputs: IOutput[], more = {}) => ({
  job: 'job1',
  outputs,
  executionCount: 7,
  inert: true,
  final: true,
  ...more
});

beforeEach(() => {
  notebook = new YNotebook();
});

describe('findCell', () => {
  it('goes by the id, else by the job, and guesses nothing', () => {
    const a = cell('a');
    const b = cell('b', [], { lepton: { job: 'job1' } });
    expect(findCell([a, b], 'a', 'job1')).toBe(a);
    expect(findCell([a, b], 'gone', 'job1')).toBe(b);
    expect(findCell([a, b], null, 'job2')).toBeNull();
    expect(findCell([a, b, cell('c', [], { lepton: { job: 'job1' } })], 'gone', 'job1')).toBeNull();
  });
});

describe('shows', () => {
  it('does not mind how streams are cut, nor what the relay said beside them', () => {
    const a = cell('a', [text('lepton: job job1 goes to gpu1.\n'), text('1\n2\n')]);
    expect(shows(a, [text('1\n'), text('2\n')])).toBe(true);
    expect(shows(a, [text('1\n')])).toBe(false);
    expect(shows(a, [text('1\n2\n', 'stderr')])).toBe(false);
  });
});

describe('setOutputs', () => {
  const steps: [string, IOutput[], IOutput[]][] = [
    ['into an empty cell', [], [text('1\n'), shown('a')]],
    ['a longer stream for a shorter one', [text('1\n')], [text('1\n2\n')]],
    [
      'after what is there already',
      [text('1\n'), shown('a')],
      [text('1\n'), shown('a'), shown('b')]
    ],
    [
      'a longer last stream',
      [shown('a'), text('1\n')],
      [shown('a'), text('1\n2\n'), shown('b'), text('3\n')]
    ],
    [
      'another last stream',
      [shown('a'), text('1\n')],
      [shown('a'), text('2\n'), shown('b'), text('3\n')]
    ],
    ['another first stream', [text('1\n'), shown('a')], [text('2\n'), shown('a'), text('3\n')]],
    ['an error stream for another', [shown('a'), text('1\n')], [shown('a'), text('1\n', 'stderr')]],
    ['fewer than there were', [text('1\n'), shown('a'), shown('b')], [shown('b')]],
    ['nothing at all', [text('1\n')], []]
  ];
  it.each(steps)('puts %s', (_, before, after) => {
    const a = cell('a', before);
    setOutputs(a, content(after));
    setOutputs(a, content(after));
    expect(a.outputs.toJSON()).toEqual(after);
    expect(a.sharedModel.getOutputs()).toEqual(after);
    expect(a.executionCount).toBe(7);
    expect(jobOf(a.metadata)).toBe('job1');
  });

  it('cannot be undone', () => {
    const a = cell('a');
    notebook.clearUndoHistory();
    a.sharedModel.clearUndoHistory();
    a.sharedModel.setSource('edited');
    setOutputs(a, content([text('1\n')]));
    a.sharedModel.undo();
    notebook.undo();
    expect(a.sharedModel.getSource()).toBe('x');
    expect(a.outputs.toJSON()).toEqual([text('1\n')]);
    expect(jobOf(a.metadata)).toBe('job1');
  });

  it('leaves a card above the outputs', () => {
    const card = shown('card', { lepton: { card: 'job1' } });
    const a = cell('a', [card, text('1\n')]);
    setOutputs(a, content([text('1\n2\n')]));
    expect(a.outputs.toJSON()).toEqual([card, text('1\n2\n')]);
  });

  const live = (job: string) => ({
    output_type: 'display_data',
    data: { 'application/vnd.jupyter.widget-view+json': { model_id: 'm' }, 'text/plain': 'runs' },
    metadata: { lepton: { card: job } }
  });

  it('draws the card of a job that is over for good, and no other', () => {
    const a = cell('a', [live('job1'), live('job2'), text('1\n')]);
    const card = { 'text/plain': 'done' };
    expect([hasLiveCard(a, 'job1'), hasLiveCard(a, 'job3')]).toEqual([true, false]);
    setOutputs(a, content([text('1\n2\n')], { card }));
    const drawn = { ...live('job1'), data: card };
    expect(a.outputs.toJSON()).toEqual([drawn, live('job2'), text('1\n2\n')]);
    expect(hasLiveCard(a, 'job1')).toBe(false);
    setOutputs(a, content([text('1\n2\n')], { card: null }));
    expect(a.outputs.toJSON()).toEqual([drawn, live('job2'), text('1\n2\n')]);
  });

  it('puts the cards of the file in the place of its own', () => {
    const a = cell('a', [live('job1'), text('1\n')]);
    const drawn = { ...live('job1'), data: { 'text/plain': 'done' } };
    setOutputs(a, content([text('1\n2\n')], { cards: [drawn] }));
    expect(a.outputs.toJSON()).toEqual([drawn, text('1\n2\n')]);
  });

  it('takes the trust of a cell before anything that could run a script is in it', () => {
    const a = cell('a', [], { trusted: true });
    const seen: boolean[] = [];
    a.outputs.changed.connect(() => seen.push(a.outputs.trusted));
    setOutputs(a, content([shown('<script></script>')], { inert: false }));
    expect(a.trusted).toBe(false);
    expect(a.getMetadata('trusted')).toBeUndefined();
    expect(seen).not.toContain(true);
    expect(seen.length).toBeGreaterThan(0);
  });

  it('keeps the trust otherwise', () => {
    const a = cell('a', [], { trusted: true });
    setOutputs(a, content([shown('<b>x</b>')]));
    expect(a.trusted).toBe(true);
  });
});

describe('mark and distrust', () => {
  it('keep what else is noted', () => {
    const a = cell('a', [], { lepton: { card: 'x' }, tags: ['y'], trusted: true });
    mark(a, 'job2');
    distrust(a);
    expect(a.metadata).toEqual({ lepton: { card: 'x', job: 'job2' }, tags: ['y'] });
  });
});
