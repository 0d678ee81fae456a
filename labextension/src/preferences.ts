/**
 * What the user chose in the settings; the defaults until those are loaded, or where there are none. In the browser.
 */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Wanted } from './notify';

const NOTIFY_AFTER = 10;

export class Preferences {
  get notifications(): Wanted {
    return this._notifications;
  }

  /** Seconds. */
  get notifyAfter(): number {
    return this._notifyAfter;
  }

  get confirmStop(): boolean {
    return this._confirmStop;
  }

  get statusBar(): boolean {
    return this._statusBar;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Follow these settings from now on. */
  follow(settings: ISettingRegistry.ISettings): void {
    const read = (): void => {
      const { notifications, notifyAfter, confirmStop, statusBar } = settings.composite;
      this._notifications =
        notifications === 'none' || notifications === 'failures' ? notifications : 'all';
      this._notifyAfter = typeof notifyAfter === 'number' ? notifyAfter : NOTIFY_AFTER;
      this._confirmStop = confirmStop !== false;
      this._statusBar = statusBar !== false;
      this._changed.emit();
    };
    settings.changed.connect(read);
    read();
  }

  private _notifications: Wanted = 'all';
  private _notifyAfter = NOTIFY_AFTER;
  private _confirmStop = true;
  private _statusBar = true;
  private readonly _changed = new Signal<this, void>(this);
}
