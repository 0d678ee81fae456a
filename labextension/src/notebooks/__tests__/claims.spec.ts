import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';

import type { IWriteMessage, IWrote, Message, Word } from '../../protocol';
import type { ILeptonStream } from '../../tokens';
import { write } from '../apply';
import { Claims } from '../claims';

jest.mock('../apply');

/** A page that has `work.ipynb` open, in the hands of a test. */
class Bed {
  readonly said: Word[] = [];
  readonly save = new Signal<this, string>(this);
  readonly context = {
    localPath: 'work.ipynb',
    path: 'work.ipynb',
    isReady: true,
    ready: Promise.resolve(),
    contentsModel: { hash: 'abc' },
    model: { stateChanged: new Signal<this, void>(this), dirty: false, cells: [] },
    pathChanged: new Signal<this, void>(this),
    fileChanged: new Signal<this, void>(this),
    saveState: this.save,
    sessionContext: {
      kernelChanged: new Signal<this, void>(this),
      statusChanged: new Signal<this, void>(this),
      connectionStatusChanged: new Signal<this, void>(this)
    }
  };

  constructor() {
    const panel = { context: this.context, disposed: new Signal<this, void>(this) };
    const tracker = {
      forEach: (add: (panel: NotebookPanel) => void) => add(panel as unknown as NotebookPanel),
      widgetAdded: new Signal<this, void>(this),
      currentChanged: new Signal<this, void>(this)
    };
    const stream = {
      statusChanged: new Signal<this, void>(this),
      messages: this.messages,
      send: (word: Word) => this.said.push(word) > 0
    };
    const contents = { driveName: () => '' };
    new Claims(
      stream as unknown as ILeptonStream,
      tracker as unknown as INotebookTracker,
      contents as unknown as Contents.IManager
    );
  }

  /** What the page answers when it is asked to write and `wrote` comes of it. */
  async asked(wrote: IWrote): Promise<Word[]> {
    jest.mocked(write).mockResolvedValue(wrote);
    this.messages.emit({ type: 'write', job: 'j', seq: 3, path: 'work.ipynb' } as IWriteMessage);
    await new Promise(resolve => setTimeout(resolve));
    return this.said.filter(({ type }) => type === 'wrote');
  }

  private readonly messages = new Signal<this, Message>(this);
}

describe('Claims', () => {
  const answer = { type: 'wrote', job: 'j', seq: 3, state: 'written' };

  it('says which file it is when it has saved by itself, so that other pages learn of it', async () => {
    const told = { ...answer, saved: true, path: 'work.ipynb', hash: 'abc' };
    expect(await new Bed().asked({ state: 'written', saved: true })).toEqual([told]);
  });

  it('says no file while there is nothing of it in the file', async () => {
    const told = { ...answer, saved: false };
    expect(await new Bed().asked({ state: 'written', saved: false })).toEqual([told]);
  });
});
