/**
 * Takes in what the server wrote into a notebook's file while this page could not be asked (it slept, or had lost its
 * connection), so that JupyterLab never asks "File Changed" for it. In the browser.
 *
 * For each cell it is known what the file held when this page read or wrote it last. When the file differs from that in
 * nothing but the outputs of jobs, they are taken over, and the user's edits stay; any other difference is somebody else's
 * work, and JupyterLab asks about it as ever.
 */
import type { CodeCellModel } from '@jupyterlab/cells';
import type { Context } from '@jupyterlab/docregistry';
import type { ICell, INotebookContent, IOutput } from '@jupyterlab/nbformat';
import type { Contents } from '@jupyterlab/services';

import type { OpenNotebook } from './open';
import { isCard, jobOf, setOutputs } from './outputs';

/** What JupyterLab's Context keeps to itself, and what there is no other way to. Whatever is missing is done without. */
interface IInside {
  _updateContentsModel?(model: Contents.IModel): void;
  _raiseConflict?(
    model: Contents.IModel,
    options: Partial<Contents.IModel>
  ): Promise<Contents.IModel>;
  _maybeSave?(options: Partial<Contents.IModel>): Promise<Contents.IModel>;
}

/** A cell as the file has it. */
interface IKnown {
  id: string;
  /** All but its outputs and what goes with them. */
  rest: string;
  outputs: string;
}

export class Merger {
  constructor(
    private readonly notebook: OpenNotebook,
    private readonly contents: Contents.IManager
  ) {
    const { context } = notebook;
    let saving: IKnown[] | null = null;
    context.saveState.connect((_, state) => {
      if (state === 'started') {
        saving = this.inModel();
      } else if (state === 'completed' && saving) {
        this.known = saving;
      }
    });
    context.fileChanged.connect(() => {
      if (!notebook.model.dirty) {
        this.known = this.inModel();
      }
    });
    void context.ready.then(() => {
      this.known ??= this.inModel();
    });
    this.guard();
  }

  /** Whether the page now knows the file as it is: it had not changed, or by nothing but the outputs of jobs. */
  async takeIn(): Promise<boolean> {
    const { context, model } = this.notebook;
    const disk = await this.contents.get(context.path, {
      type: 'notebook',
      format: 'json',
      content: true,
      hash: true
    });
    if (this.notebook.isDisposed || model.collaborative) {
      return false;
    }
    const knownHash = context.contentsModel?.hash;
    if (knownHash && disk.hash === knownHash) {
      return true;
    }
    const content = disk.content as INotebookContent;
    const changed = this.known && ours(this.known, content.cells.map(knownCell), content);
    if (!changed) {
      return false;
    }
    const clean = !model.dirty;
    for (const index of changed) {
      this.take(content.cells[index] as ICell, index);
    }
    this.adopt(disk, clean);
    this.known = content.cells.map(knownCell);
    return true;
  }

  /** The server says that the file is another now. A page with nothing of its own shows it as it is. */
  async catchUp(hash: string | null): Promise<void> {
    const { context, model } = this.notebook;
    await context.ready;
    if (model.collaborative || (hash && context.contentsModel?.hash === hash)) {
      return;
    }
    if (!(await this.takeIn()) && !model.dirty && !this.notebook.isDisposed) {
      await context.revert();
    }
  }

  private take(cell: ICell, index: number): void {
    const mine = this.find(cell, index);
    const was = this.known?.[index];
    if (!mine || !was || (this.notebook.isLive(mine) && outputsOf(mine.toJSON()) !== was.outputs)) {
      return; // The user deleted it, or ran it again.
    }
    this.notebook.mute(mine);
    const all = (cell.outputs ?? []) as IOutput[];
    setOutputs(mine, {
      job: jobOf(cell.metadata),
      outputs: all.filter(output => !isCard(output)),
      cards: all.filter(isCard),
      executionCount: (cell.execution_count as number | null | undefined) ?? null,
      inert: !!cell.metadata.trusted,
      final: true
    });
  }

  /** In formats without ids, by what it says and where it is. */
  private find(cell: ICell, index: number): CodeCellModel | null {
    const { cells } = this.notebook.model;
    if (typeof cell.id === 'string') {
      return this.notebook.codeCells.find(mine => mine.id === cell.id) ?? null;
    }
    const mine = index < cells.length ? cells.get(index) : null;
    const same =
      mine?.type === 'code' && knownCell(mine.toJSON()).rest === this.known?.[index].rest;
    return same ? (mine as CodeCellModel) : null;
  }

  private adopt(disk: Contents.IModel, clean: boolean): void {
    const inside = this.notebook.context as unknown as IInside;
    inside._updateContentsModel?.({ ...disk, content: null });
    this.notebook.model.dirty = !clean;
  }

  /** A save that finds another file than it knows takes in what is ours first, and asks only about the rest. */
  private guard(): void {
    const inside = this.notebook.context as unknown as IInside;
    const ask = inside._raiseConflict?.bind(this.notebook.context as unknown as Context<never>);
    if (!ask || !inside._maybeSave || !inside._updateContentsModel) {
      return;
    }
    let within = false;
    inside._raiseConflict = async (model, options) => {
      if (!within && (await this.takeIn().catch(() => false))) {
        within = true;
        try {
          return await inside._maybeSave!({ ...options, content: this.notebook.model.toJSON() });
        } finally {
          within = false;
        }
      }
      return ask(model, options);
    };
  }

  private inModel(): IKnown[] {
    return [...this.notebook.model.cells].map(cell => knownCell(cell.toJSON()));
  }

  private known: IKnown[] | null = null;
}

/** The cells whose outputs a job changed; null when something else is different, too. */
function ours(before: IKnown[], after: IKnown[], content: INotebookContent): number[] | null {
  if (before.length !== after.length) {
    return null;
  }
  const changed: number[] = [];
  for (const [index, cell] of after.entries()) {
    const was = before[index];
    if ((cell.id && was.id !== cell.id) || was.rest !== cell.rest) {
      return null;
    }
    if (was.outputs !== cell.outputs) {
      if (!jobOf(content.cells[index].metadata)) {
        return null;
      }
      changed.push(index);
    }
  }
  return changed;
}

function knownCell(cell: ICell): IKnown {
  const { id, source } = cell;
  const text = Array.isArray(source) ? source.join('') : source;
  const metadata = without(cell.metadata, 'lepton', 'trusted', 'execution');
  const others = without(cell, 'id', 'source', 'outputs', 'execution_count', 'metadata');
  return {
    id: typeof id === 'string' ? id : '',
    rest: ordered([text, metadata, others]),
    outputs: outputsOf(cell)
  };
}

function without(value: object, ...keys: string[]): object {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}

function outputsOf(cell: ICell): string {
  return ordered(cell.outputs ?? []);
}

/** JSON in which the order of keys says nothing, nor whether a text is in lines. */
function ordered(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (Array.isArray(item) && item.length > 0 && item.every(line => typeof line === 'string')) {
      return item.join('');
    }
    if (item && typeof item === 'object' && !Array.isArray(item)) {
      return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
    }
    return item;
  });
}
