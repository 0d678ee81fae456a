/** The other end of a WebSocket, in the hands of a test. */
import { ServerConnection } from '@jupyterlab/services';

import type { Message, Word } from '../protocol';

export class FakeSocket {
  /** All that were made, oldest first. */
  static made: FakeSocket[] = [];

  static get last(): FakeSocket {
    return FakeSocket.made[FakeSocket.made.length - 1];
  }

  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  readyState = 0;
  readonly said: Word[] = [];

  constructor(readonly url: string) {
    FakeSocket.made.push(this);
  }

  // what the page does

  send(data: string): void {
    this.said.push(JSON.parse(data) as Word);
  }

  close(): void {
    this.readyState = 3;
  }

  // what the network does

  accept(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  say(message: Message): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  cut(): void {
    this.readyState = 3;
    this.onclose?.();
  }
}

export function settings(): ServerConnection.ISettings {
  FakeSocket.made = [];
  return ServerConnection.makeSettings({
    baseUrl: 'http://localhost/user/ann/',
    wsUrl: 'ws://localhost/user/ann/',
    token: 's3cret',
    appendToken: true,
    WebSocket: FakeSocket as unknown as typeof WebSocket
  });
}
