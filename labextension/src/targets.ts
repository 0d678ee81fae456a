/**
 * The user's targets as the server last described them, with ten minutes of history each. In the browser.
 */
import { Signal, type ISignal } from '@lumino/signaling';

import { Coalesced } from './frames';
import type { ISample, ITarget, Message, SampleRow } from './protocol';

/** Ten minutes, once a second. */
const HISTORY = 600;

export class TargetsModel {
  /** In the server's order. */
  get list(): readonly ITarget[] {
    return this._list;
  }

  /** False until the server has said which targets there are. */
  get known(): boolean {
    return this._known;
  }

  /** Which targets changed, by name; once a frame at most. */
  get changed(): ISignal<this, ReadonlySet<string>> {
    return this._changed;
  }

  get(name: string): ITarget | undefined {
    return this._list.find(target => target.name === name);
  }

  receive(message: Message): void {
    if (message.type === 'targets') {
      const before = this._list;
      this._known = true;
      this._list = message.targets;
      this.pending.add(
        '',
        ...before.map(({ name }) => name),
        ...this._list.map(({ name }) => name)
      );
    } else if (message.type === 'kernels') {
      for (const { name, kernels } of this._list) {
        const now = message.kernels[name] ?? 0;
        if (now !== kernels) {
          this.update(name, target => ({ ...target, kernels: now }));
        }
      }
    } else if (message.type === 'sample') {
      const { latency, sample } = message;
      this.update(message.target, target => ({
        ...target,
        latency,
        sample,
        samples: [...target.samples.slice(1 - HISTORY), row(sample)]
      }));
    } else if (message.type === 'link') {
      const { link, words } = message;
      this.update(message.target, target => ({ ...target, link, words }));
    }
  }

  /** Tell now what changed since the last frame. */
  flush(): void {
    this.pending.flush();
  }

  /** Targets are replaced, never changed, so that a view sees by identity which of them are new. */
  private update(name: string, change: (target: ITarget) => ITarget): void {
    const index = this._list.findIndex(target => target.name === name);
    if (index >= 0) {
      this._list = this._list.map((target, i) => (i === index ? change(target) : target));
      this.pending.add(name);
    }
  }

  private _known = false;
  private _list: readonly ITarget[] = [];
  private readonly _changed = new Signal<this, ReadonlySet<string>>(this);
  private readonly pending = new Coalesced<string>(names => this._changed.emit(names));
}

/** A sample as one point of a history. */
export function row(sample: ISample): SampleRow {
  return [sample.time, sample.cpu.percent, sample.devices.map(({ util }) => util)];
}
