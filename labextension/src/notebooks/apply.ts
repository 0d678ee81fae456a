/**
 * Puts a job's outputs into its cell when the server asks this page to. In the browser.
 *
 * A cell that still gets them from its kernel is left alone until the job has ended, and then too when it has all of them.
 */
import type { CodeCellModel } from '@jupyterlab/cells';

import type { IWriteMessage, IWrote } from '../protocol';
import type { OpenNotebook } from './open';
import { findCell, hasLiveCard, mark, setOutputs, shows } from './outputs';

/** Seconds by which a cell's run and the making of its job may seem to miss each other, when clocks and roads are bad. */
const SLACK = 1;
/** Milliseconds that the last messages of a kernel may take to be shown. */
const LAST_WORDS = 3000;
const LOOK_EVERY = 150;

/** Do what `message` asks for. `save` saves the notebook, without a question to the user. */
export async function write(
  notebook: OpenNotebook,
  message: IWriteMessage,
  save: () => Promise<void>
): Promise<IWrote> {
  await notebook.context.ready;
  const cell = findCell(notebook.codeCells, message.cell_id, message.job);
  if (!cell) {
    return { state: 'gone' };
  }
  const created = message.created + Date.now() / 1000 - message.now;
  if (notebook.ranAt(cell) > created + SLACK) {
    return { state: 'gone', why: 'again' };
  }
  const { model } = notebook;
  const live = notebook.isLive(cell, created - SLACK); // a job that was run again from elsewhere is not
  if (message.probe) {
    if (live) {
      withoutDirt(notebook, () => mark(cell, message.job));
    }
    const whole = live && notebook.isWhole(cell);
    if (whole && message.final) {
      await quiet(cell);
      note(notebook, message);
    }
    return { state: live ? 'live' : 'idle', whole, saved: !model.dirty };
  }
  if (live && message.final) {
    await quiet(cell, () => shows(cell, message.outputs));
  }
  notebook.mute(cell);
  const clean = !model.dirty;
  if (shows(cell, message.outputs) && !(message.card && hasLiveCard(cell, message.job))) {
    withoutDirt(notebook, () => mark(cell, message.job));
  } else {
    const { job, outputs, execution_count: executionCount, inert, final, card } = message;
    setOutputs(cell, { job, outputs, executionCount, inert, final, card });
    if (clean && message.final) {
      await save();
    } else if (clean) {
      model.dirty = false; // The server has it anyway, and more will come: nothing the user would have to save.
    }
  }
  if (message.final) {
    note(notebook, message);
  }
  return { state: 'written', saved: message.final && !model.dirty };
}

/** What is in the model is to be told when it is saved. */
function note(notebook: OpenNotebook, message: IWriteMessage): void {
  if (notebook.model.dirty) {
    notebook.unsaved.set(message.job, message.seq);
  }
}

function withoutDirt(notebook: OpenNotebook, change: () => void): void {
  const clean = !notebook.model.dirty;
  change();
  if (clean) {
    notebook.model.dirty = false;
  }
}

/** Until a cell has stopped to run and `done`, but not for long: a detached job's cell stopped long ago. */
async function quiet(cell: CodeCellModel, done: () => boolean = () => true): Promise<void> {
  for (let waited = 0; waited < LAST_WORDS; waited += LOOK_EVERY) {
    if (cell.isDisposed || (cell.executionState !== 'running' && done())) {
      return;
    }
    await new Promise(resolve => window.setTimeout(resolve, LOOK_EVERY));
  }
}
