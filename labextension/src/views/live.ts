/**
 * What is on screen and what it shows: widgets that tell the stream what they look at while they are visible, and hooks that
 * render again only when that changes. In the browser.
 */
import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { JobsModel } from '../jobs';
import type { IJob, ITarget } from '../protocol';
import type { TargetsModel } from '../targets';
import type { ILepton } from '../tokens';

/** Targets and jobs by name and id. */
export interface ILook {
  targets?: readonly string[];
  jobs?: readonly string[];
}

/** A widget whose live samples flow only while it can be seen. */
export abstract class LiveWidget extends ReactWidget {
  constructor(protected readonly lepton: ILepton) {
    super();
  }

  /** `isVisible` may have changed. */
  readonly visibility = new Signal<this, void>(this);

  /** What it looks at now. */
  protected abstract look(): ILook;

  /** To be called when `look` would answer something else. */
  protected lookAgain(): void {
    const before = this.looking;
    const { stream } = this.lepton;
    this.looking =
      this.isVisible && !this.isDisposed ? [stream.show(), stream.look(this.look())] : [];
    before.forEach(look => look.dispose());
    this.visibility.emit();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.lookAgain();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.lookAgain();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.lookAgain();
  }

  protected override onBeforeDetach(message: Message): void {
    this.looking.forEach(look => look.dispose());
    this.looking = [];
    super.onBeforeDetach(message);
  }

  private looking: IDisposable[] = [];
}

/** All targets, in the server's order. */
export function useTargets(model: TargetsModel): readonly ITarget[] {
  return React.useSyncExternalStore(
    React.useCallback(changed => connected(model, changed), [model]),
    () => model.list
  );
}

/** One target; null when there is none of this name (any more), undefined before the server has said which there are. */
export function useTarget(model: TargetsModel, name: string): ITarget | null | undefined {
  return React.useSyncExternalStore(
    React.useCallback(changed => connected(model, changed), [model]),
    () => model.get(name) ?? (model.known ? null : undefined)
  );
}

/** One job; undefined while it is not among those that the server told of. */
export function useJob(model: JobsModel, id: string): IJob | undefined {
  return React.useSyncExternalStore(
    React.useCallback(changed => connected(model, changed), [model]),
    () => model.get(id)
  );
}

function connected(model: JobsModel | TargetsModel, changed: () => void): () => void {
  const listen = (): void => changed();
  const signal = model.changed as JobsModel['changed'];
  signal.connect(listen);
  return () => {
    signal.disconnect(listen);
  };
}

/** A failure in the words of whoever failed, with what to do next. */
export function inWords(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hint = (error as { hint?: unknown } | null)?.hint;
  if (typeof hint !== 'string' || !hint) {
    return message;
  }
  return /[.?!…]$/.test(message) ? `${message} ${hint}` : `${message}. ${hint}`;
}
