/**
 * Tells the server which notebooks this page has open, whenever that changes, and does what it asks for in them. In the
 * browser.
 */
import type { Cell } from '@jupyterlab/cells';
import {
  NotebookActions,
  type INotebookTracker,
  type Notebook,
  type NotebookPanel
} from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';

import type { IOpenNotebook, IWriteMessage, IWrote, Message } from '../protocol';
import type { ILeptonStream } from '../tokens';
import { write } from './apply';
import { Merger } from './merge';
import { OpenNotebook } from './open';

/** Milliseconds that changes are gathered before they are told. */
const GATHER = 50;
/** Drives whose paths are those of the server's contents API; the second is that of shared documents. */
const DRIVES = ['', 'RTC'];

export class Claims {
  constructor(
    private readonly stream: ILeptonStream,
    private readonly tracker: INotebookTracker,
    private readonly contents: Contents.IManager
  ) {
    tracker.forEach(panel => this.add(panel));
    tracker.widgetAdded.connect((_, panel) => this.add(panel));
    tracker.currentChanged.connect(() => this.tell());
    document.addEventListener('visibilitychange', () => this.tell());
    NotebookActions.executionScheduled.connect(this.onRun, this);
    NotebookActions.executed.connect(this.onOver, this);
    stream.statusChanged.connect((_, status) => {
      if (status === 'live') {
        this.said = '';
        this.say();
        this.notebooks.forEach(({ merger }) => void merger.takeIn().catch(() => undefined));
      }
    });
    stream.messages.connect((_, message) => void this.hear(message));
    this.tell();
  }

  private add(panel: NotebookPanel): void {
    const { context } = panel;
    const notebook = new OpenNotebook(panel);
    const entry = {
      notebook,
      merger: new Merger(notebook, this.contents),
      turn: Promise.resolve()
    };
    this.notebooks.set(panel, entry);
    const tell = (): void => this.tell();
    context.pathChanged.connect(tell);
    context.model.stateChanged.connect(tell);
    context.saveState.connect((_, state) => {
      if (state === 'completed') {
        this.saySaved(notebook);
        this.tell();
      }
    });
    notebook.lost.connect(tell);
    panel.disposed.connect(() => {
      this.notebooks.delete(panel);
      notebook.dispose();
      this.tell();
    });
    void context.ready.then(tell, () => undefined);
  }

  private onRun(_: unknown, { notebook, cell }: { notebook: Notebook; cell: Cell }): void {
    this.showing(notebook).forEach(entry => entry.notebook.ran(cell.model));
  }

  private onOver(_: unknown, { notebook, cell }: { notebook: Notebook; cell: Cell }): void {
    this.showing(notebook).forEach(entry => entry.notebook.over(cell.model));
  }

  private showing(notebook: Notebook): IEntry[] {
    return [...this.notebooks]
      .filter(([panel]) => panel.content === notebook)
      .map(([, entry]) => entry);
  }

  private async hear(message: Message): Promise<void> {
    if (message.type === 'saved') {
      const entry = this.find(message.path);
      await entry?.merger.catchUp(message.hash).catch(reason => console.warn(reason));
    } else if (message.type === 'write') {
      const answer = await this.write(message);
      this.stream.send({ type: 'wrote', job: message.job, seq: message.seq, ...answer });
    }
  }

  private async write(message: IWriteMessage): Promise<IWrote> {
    const entry = this.find(message.path);
    if (!entry) {
      return { state: 'closed' };
    }
    const { notebook } = entry;
    const save = (): Promise<void> => notebook.context.save().catch(reason => console.warn(reason));
    const done = entry.turn.then(() => write(notebook, message, save));
    entry.turn = done.then(
      () => undefined,
      () => undefined
    );
    try {
      const answer = await done;
      return answer.saved ? { ...answer, ...filed(notebook) } : answer;
    } catch (reason) {
      console.error('Outputs could not be put into their cell.', reason);
      return { state: 'failed' };
    }
  }

  private saySaved(notebook: OpenNotebook): void {
    const wrote: IWrote = { state: 'written', saved: true, ...filed(notebook) };
    for (const [job, seq] of notebook.unsaved) {
      if (this.stream.send({ type: 'wrote', job, seq, ...wrote })) {
        notebook.unsaved.delete(job);
      }
    }
  }

  private find(path: string): IEntry | undefined {
    return [...this.notebooks.values()].find(
      ({ notebook }) => !notebook.isDisposed && notebook.context.localPath === path
    );
  }

  /** Say it soon, once. */
  private tell(): void {
    this.timer ||= window.setTimeout(() => this.say(), GATHER);
  }

  private say(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
    const open = this.open();
    const text = JSON.stringify(open);
    if (text !== this.said && this.stream.send({ type: 'notebooks', open })) {
      this.said = text;
    }
  }

  private open(): IOpenNotebook[] {
    const found = new Map<string, IOpenNotebook>();
    for (const [panel, { notebook }] of this.notebooks) {
      const { context } = panel;
      const ready = context.isReady && !context.isDisposed;
      if (ready && DRIVES.includes(this.contents.driveName(context.path))) {
        const active =
          this.tracker.currentWidget === panel && document.visibilityState === 'visible';
        found.set(context.localPath, {
          path: context.localPath,
          dirty: context.model.dirty,
          hash: context.contentsModel?.hash ?? null,
          active: active || !!found.get(context.localPath)?.active,
          shared: !!context.model.collaborative,
          epoch: notebook.epoch
        });
      }
    }
    return [...found.values()];
  }

  private timer = 0;
  private said = '';
  private readonly notebooks = new Map<NotebookPanel, IEntry>();
}

/** Which file holds the notebook, as this page knows it: other pages that have it open learn by it that theirs is old. */
function filed({ context }: OpenNotebook): Pick<IWrote, 'path' | 'hash'> {
  return { path: context.localPath, hash: context.contentsModel?.hash ?? null };
}

interface IEntry {
  notebook: OpenNotebook;
  merger: Merger;
  /** One thing after another. */
  turn: Promise<void>;
}
