/**
 * The job that a person last pointed at in the sidebar; commands without an argument act on it. In the browser.
 */
import { Signal, type ISignal } from '@lumino/signaling';

export class JobSelection {
  get id(): string | null {
    return this._id;
  }

  set id(id: string | null) {
    if (id !== this._id) {
      this._id = id;
      this._changed.emit(id);
    }
  }

  get changed(): ISignal<this, string | null> {
    return this._changed;
  }

  private _id: string | null = null;
  private readonly _changed = new Signal<this, string | null>(this);
}
