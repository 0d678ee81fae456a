/**
 * One WebSocket to the server: a snapshot when it opens first, numbered changes from then on. After a cut it is opened again
 * by itself, ever more slowly, and goes on where it stopped; while nobody looks, the server sends summaries only. In the
 * browser.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { UUID } from '@lumino/coreutils';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Message, Word } from './protocol';
import type { ILeptonStream } from './tokens';

/** Seconds before the first and the slowest further attempt. */
const FIRST_WAIT = 1;
const LONGEST_WAIT = 30;
/** Between two looks at the clock; a longer pause means that the machine slept, and the socket is dead. */
const TICK = 5;
const SLEPT = 20;

/** What keeps the messages: told of each in turn, and asked how far it got. */
export interface IReceiver {
  /** The number of the last change taken in; null before the first snapshot is complete. */
  readonly number: number | null;
  receive(message: Message): void;
}

export class Stream implements ILeptonStream, IDisposable {
  readonly client = UUID.uuid4();

  /** `probe` asks the server for anything of ours over HTTP and answers the status; 0 when it cannot be asked. */
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly receiver: IReceiver,
    private readonly probe: () => Promise<number>
  ) {
    document.addEventListener('visibilitychange', this.onVisibility);
    window.addEventListener('online', this.onOnline);
    this.clock = window.setInterval(this.onTick, TICK * 1000);
    this.connect();
  }

  get status(): ILeptonStream['status'] {
    return this._status;
  }

  get connected(): boolean {
    return this._status === 'live';
  }

  get retryAt(): number {
    return this._retryAt;
  }

  get statusChanged(): ISignal<this, ILeptonStream['status']> {
    return this._statusChanged;
  }

  get messages(): ISignal<this, Message> {
    return this._messages;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  send(word: Word): boolean {
    if (!this.connected || this.socket?.readyState !== 1 /* OPEN */) {
      return false;
    }
    this.socket.send(JSON.stringify(word));
    return true;
  }

  retry(): void {
    if (this._status !== 'live' && this._status !== 'connecting') {
      this.attempts = 0;
      this.connect();
    }
  }

  show(): IDisposable {
    this.shown += 1;
    this.sayVisible();
    return new DisposableDelegate(() => {
      this.shown -= 1;
      this.sayVisible();
    });
  }

  look(at: { targets?: readonly string[]; jobs?: readonly string[] }): IDisposable {
    this.looks.add(at);
    this.sayLook();
    return new DisposableDelegate(() => {
      this.looks.delete(at);
      this.sayLook();
    });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this.onVisibility);
    window.removeEventListener('online', this.onOnline);
    window.clearInterval(this.clock);
    window.clearTimeout(this.timer);
    this.drop();
    Signal.clearData(this);
  }

  private get visible(): boolean {
    return this.shown > 0 && !document.hidden;
  }

  private connect(): void {
    window.clearTimeout(this.timer);
    this.drop();
    this.setStatus('connecting');
    const { appendToken, token, wsUrl, WebSocket } = this.settings;
    const query = appendToken && token ? `?token=${encodeURIComponent(token)}` : '';
    const socket = new WebSocket(URLExt.join(wsUrl, 'lepton/api/stream') + query);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.attempts = 0;
      this.setStatus('live');
    };
    socket.onmessage = event => this.onMessage(String(event.data));
    socket.onclose = () => {
      this.socket = null;
      void this.onClose(opened);
    };
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
    }
  }

  /** A browser does not say why a socket did not open, so HTTP is asked; only its clear words count. */
  private async onClose(opened: boolean): Promise<void> {
    const wait =
      Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.attempts) * (0.75 + Math.random() / 2);
    this.attempts += 1;
    this._retryAt = Date.now() / 1000 + wait;
    this.setStatus('waiting');
    const attempt = this.attempts;
    if (!opened) {
      const status = await this.probe();
      if (this._isDisposed || this._status !== 'waiting' || attempt !== this.attempts) {
        return;
      }
      if (status === 404) {
        return this.setStatus('missing');
      }
      if (status === 401 || status === 403) {
        return this.setStatus('refused');
      }
    }
    const left = Math.max(0, this._retryAt * 1000 - Date.now());
    this.timer = window.setTimeout(() => this.connect(), left);
  }

  private onMessage(data: string): void {
    const message = JSON.parse(data) as Message;
    this.receiver.receive(message);
    this._messages.emit(message);
  }

  private setStatus(status: ILeptonStream['status']): void {
    if (status === this._status) {
      return;
    }
    this._status = status;
    if (status === 'live') {
      this.saidVisible = this.visible;
      this.send({
        type: 'hello',
        after: this.receiver.number,
        visible: this.saidVisible,
        client: this.client
      });
      this.saidLook = '';
      this.sayLook();
    }
    this._statusChanged.emit(status);
  }

  private sayVisible(): void {
    if (this.connected && this.visible !== this.saidVisible) {
      this.saidVisible = this.visible;
      this.send({ type: 'visible', visible: this.visible, after: this.receiver.number });
    }
    this.sayLook();
  }

  private sayLook(): void {
    const targets = new Set<string>();
    const jobs = new Set<string>();
    if (this.visible) {
      for (const at of this.looks) {
        at.targets?.forEach(name => targets.add(name));
        at.jobs?.forEach(id => jobs.add(id));
      }
    }
    const word = { type: 'look' as const, targets: [...targets].sort(), jobs: [...jobs].sort() };
    const said = targets.size || jobs.size ? JSON.stringify(word) : '';
    if (this.connected && said !== this.saidLook && this.send(word)) {
      this.saidLook = said;
    }
  }

  private readonly onVisibility = (): void => {
    this.sayVisible();
    if (!document.hidden && this._status === 'waiting') {
      this.retry();
    }
  };

  private readonly onOnline = (): void => {
    if (this._status !== 'missing') {
      this.attempts = 0;
      this.connect();
    }
  };

  private readonly onTick = (): void => {
    const now = Date.now();
    const slept = now - this.ticked > SLEPT * 1000 && !document.hidden;
    this.ticked = now;
    if (slept && this._status !== 'missing') {
      this.attempts = 0;
      this.connect();
    }
  };

  private _status: ILeptonStream['status'] = 'waiting';
  private _retryAt = 0;
  private _isDisposed = false;
  private readonly _statusChanged = new Signal<this, ILeptonStream['status']>(this);
  private readonly _messages = new Signal<this, Message>(this);
  private readonly looks = new Set<{ targets?: readonly string[]; jobs?: readonly string[] }>();
  private readonly clock: number;
  private socket: WebSocket | null = null;
  private shown = 0;
  private attempts = 0;
  private saidVisible = false;
  private saidLook = '';
  private ticked = Date.now();
  private timer = 0;
}
