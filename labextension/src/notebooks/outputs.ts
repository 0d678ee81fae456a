/**
 * Outputs of a cell: found, compared, replaced in its model. Nothing here can be undone by Ctrl-Z, since it is not the
 * user's doing. In the browser.
 */
import type { YCodeCell } from '@jupyter/ydoc';
import type { CodeCellModel } from '@jupyterlab/cells';
import type { IMimeBundle, IOutput } from '@jupyterlab/nbformat';
import { JSONExt, type JSONObject, type JSONValue } from '@lumino/coreutils';

/** Where a cell's metadata say which job its outputs are of: `{"lepton": {"job": id}}`. */
const KEY = 'lepton';
/** What a card shows while its kernel draws it. */
const VIEW = 'application/vnd.jupyter.widget-view+json';
/** What the relay says in a cell besides the job's own outputs. */
const OURS = /^lepton: .*\n?/gm;

export function jobOf(metadata: Readonly<Record<string, unknown>>): string {
  const note = metadata[KEY] as { job?: unknown } | undefined;
  return typeof note?.job === 'string' ? note.job : '';
}

/** The cell of a job: by its id, else by the job's id in its metadata; null when it is gone, or several could be meant. */
export function findCell(
  cells: readonly CodeCellModel[],
  id: string | null,
  job: string
): CodeCellModel | null {
  const byId = cells.filter(cell => id !== null && cell.id === id);
  const byJob = byId.length === 1 ? byId : cells.filter(cell => jobOf(cell.metadata) === job);
  return byJob.length === 1 ? byJob[0] : null;
}

/** Whether a cell shows these outputs, however its streams are cut and whatever we said beside them. */
export function shows(cell: CodeCellModel, outputs: readonly IOutput[]): boolean {
  return JSONExt.deepEqual(normal(cell.sharedModel.getOutputs(), true), normal(outputs, false));
}

export interface IContent {
  job: string;
  outputs: readonly IOutput[];
  /** Null leaves the number in the brackets as it is. */
  executionCount: number | null;
  /** Nothing in the outputs could run a script. */
  inert: boolean;
  final: boolean;
  /** The job's card as it stays, since its kernel draws it no more; null while it may. */
  card?: IMimeBundle | null;
  /** The cards above the outputs, in the place of those that are there. */
  cards?: readonly IOutput[];
}

/**
 * Replace a cell's outputs. If they only grew, what is there stays, so that it does not flicker; else all are taken away
 * first, in a step of their own: JupyterLab's model of outputs adds a new stream to whatever it takes for the last one.
 */
export function setOutputs(cell: CodeCellModel, content: IContent): void {
  const sharedModel = cell.sharedModel as YCodeCell;
  if (!content.inert) {
    distrust(cell);
  }
  const before = sharedModel.getOutputs();
  const cards = (content.cards ?? before.filter(isCard)).map(output =>
    content.card && isLiveCard(output, content.job) ? { ...output, data: content.card } : output
  );
  const after = [...cards, ...content.outputs] as IOutput[];
  const more = added(before, after);
  if (more === null) {
    sharedModel.transact(() => sharedModel.updateOutputs(0, before.length, []), false);
  }
  const { kept, text } = more ?? { kept: 0, text: '' };
  sharedModel.transact(() => {
    if (text) {
      sharedModel.appendStreamOutput(kept - 1, text);
    }
    if (kept < after.length) {
      sharedModel.updateOutputs(kept, kept, after.slice(kept));
    }
    if (content.executionCount !== null) {
      sharedModel.execution_count = content.executionCount;
    }
    if (content.final) {
      sharedModel.executionState = 'idle';
    }
  }, false);
  mark(cell, content.job);
}

/** Note in a cell's metadata which job its outputs are of. */
export function mark(cell: CodeCellModel, job: string): void {
  if (jobOf(cell.metadata) !== job) {
    const note = (cell.getMetadata(KEY) ?? {}) as JSONObject;
    cell.sharedModel.transact(() => cell.sharedModel.setMetadata(KEY, { ...note, job }), false);
  }
}

/** From now on the cell's HTML goes through JupyterLab's sanitiser, until the user trusts the notebook. */
export function distrust(cell: CodeCellModel): void {
  if (cell.trusted || cell.getMetadata('trusted')) {
    cell.sharedModel.transact(() => cell.sharedModel.deleteMetadata('trusted'), false);
    cell.trusted = false;
  }
}

/** Whether an output is this side's own, and none of the job's. */
export function isCard(output: IOutput): boolean {
  return !!(output.metadata as JSONObject | undefined)?.[KEY];
}

/** Whether the cell shows the job's card as its kernel drew it last, with widgets. */
export function hasLiveCard(cell: CodeCellModel, job: string): boolean {
  return cell.sharedModel.getOutputs().some(output => isLiveCard(output, job));
}

function isLiveCard(output: IOutput, job: string): boolean {
  const ours = (output.metadata as JSONObject | undefined)?.[KEY] as JSONObject | undefined;
  return ours?.card === job && VIEW in ((output.data ?? {}) as JSONObject);
}

/**
 * What makes `after` of `before`: how many outputs stay, and the text by which the last of these grows. Null when something
 * else changed, too.
 */
function added(before: IOutput[], after: IOutput[]): { kept: number; text: string } | null {
  const kept = before.length;
  const last = kept - 1;
  if (kept > after.length || !before.slice(0, -1).every((output, n) => alike(output, after[n]))) {
    return null;
  }
  if (kept === 0 || alike(before[last], after[last])) {
    return { kept, text: '' };
  }
  const [old, now] = [before[last], after[last]];
  const [had, has] = [old, now].map(output => joined((output.text ?? '') as JSONValue) as string);
  const grew =
    old.output_type === 'stream' && now.output_type === 'stream' && old.name === now.name;
  return grew && has.startsWith(had) ? { kept, text: has.slice(had.length) } : null;
}

function alike(left: IOutput, right: IOutput): boolean {
  return isCard(left)
    ? left === right || JSONExt.deepEqual(left, right)
    : JSONExt.deepEqual(normal([left], false), normal([right], false));
}

function normal(outputs: readonly IOutput[], withoutOurs: boolean): JSONValue[] {
  const found: JSONObject[] = [];
  for (const output of outputs) {
    if (isCard(output)) {
      continue;
    }
    const kind = output.output_type as string;
    if (kind === 'stream') {
      const last = found[found.length - 1];
      const whole = joined(output.text as JSONValue) as string;
      const text = withoutOurs ? whole.replace(OURS, '') : whole;
      if (last?.output_type === kind && last.name === output.name) {
        last.text = `${last.text}${text}`;
      } else if (text || !withoutOurs) {
        found.push({ output_type: kind, name: output.name as string, text });
      }
    } else if (kind === 'error') {
      const { ename, evalue, traceback } = output as JSONObject;
      found.push({ output_type: kind, ename, evalue, traceback });
    } else {
      const data = Object.entries((output.data ?? {}) as JSONObject);
      const all = Object.fromEntries(data.map(([mime, value]) => [mime, joined(value)]));
      found.push({ output_type: kind, data: all, metadata: (output.metadata ?? {}) as JSONObject });
    }
  }
  return found;
}

/** Text that a file keeps as a list of lines, as one text. */
function joined(value: JSONValue): JSONValue {
  return Array.isArray(value) && value.every(line => typeof line === 'string')
    ? value.join('')
    : value;
}
