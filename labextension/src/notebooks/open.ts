/**
 * One notebook that this page has open: which of its cells get their outputs from its kernel, and what of it is saved. In
 * the browser.
 */
import type { CodeCell, CodeCellModel, ICellModel } from '@jupyterlab/cells';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { INotebookModel, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

/** When a cell was run in this page, and how the kernel's connection was then. */
interface IRun {
  /** Epoch seconds, by this page's clock. */
  at: number;
  /** When it was over; a job that was made later is none of its own. */
  ended: number;
  epoch: number;
  cuts: number;
}

export class OpenNotebook implements IDisposable {
  constructor(readonly panel: NotebookPanel) {
    const { sessionContext } = panel.context;
    sessionContext.kernelChanged.connect((_, { oldValue }) => {
      if (oldValue) {
        this.onLoss();
      }
    }, this);
    sessionContext.statusChanged.connect((_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this.onLoss();
      }
    }, this);
    sessionContext.connectionStatusChanged.connect((_, status) => {
      if (status !== 'connected') {
        this.cuts += 1;
      }
    }, this);
  }

  /** Counts what cost the cells that ran then the messages of their kernel. */
  epoch = 0;
  /** Jobs whose outputs are in the model and not yet in the file, with the number of their last event. */
  readonly unsaved = new Map<string, number>();

  get context(): DocumentRegistry.IContext<INotebookModel> {
    return this.panel.context;
  }

  get model(): INotebookModel {
    return this.context.model;
  }

  get isDisposed(): boolean {
    return this.context.isDisposed || this.panel.isDisposed;
  }

  /** `epoch` changed. */
  get lost(): ISignal<this, void> {
    return this._lost;
  }

  get codeCells(): CodeCellModel[] {
    return [...this.model.cells].filter(cell => cell.type === 'code') as CodeCellModel[];
  }

  dispose(): void {
    Signal.clearData(this);
  }

  /** A cell of this notebook was run in this page. */
  ran(cell: ICellModel): void {
    this.runs.set(cell, {
      at: Date.now() / 1000,
      ended: Infinity,
      epoch: this.epoch,
      cuts: this.cuts
    });
  }

  /** A cell's last run in this page is over; a detached job of it goes on. */
  over(cell: ICellModel): void {
    const run = this.runs.get(cell);
    if (run) {
      run.ended = Date.now() / 1000;
    }
  }

  /** When the cell was run last in this page; 0 if it never was. */
  ranAt(cell: ICellModel): number {
    return this.runs.get(cell)?.at ?? 0;
  }

  /** Whether what the kernel sends for the cell's last run still reaches it, and that run made what was made at `created`. */
  isLive(cell: ICellModel, created = 0): boolean {
    const run = this.runs.get(cell);
    return run?.epoch === this.epoch && created <= run.ended;
  }

  /** From now on the cell takes nothing more from its kernel for its last run: what is due comes from the server. */
  mute(cell: ICellModel): void {
    if (this.runs.delete(cell)) {
      const widget = this.panel.content.widgets.find(({ model }) => model === cell);
      const future = (widget as CodeCell | undefined)?.outputArea?.future;
      if (future && !future.isDisposed) {
        future.onIOPub = () => undefined;
      }
    }
  }

  /** Whether the cell got all that the kernel sent: the connection was never cut since it was run. */
  isWhole(cell: ICellModel): boolean {
    return this.isLive(cell) && this.runs.get(cell)?.cuts === this.cuts;
  }

  private onLoss(): void {
    this.epoch += 1;
    this._lost.emit();
  }

  private cuts = 0;
  private readonly runs = new WeakMap<ICellModel, IRun>();
  private readonly _lost = new Signal<this, void>(this);
}
