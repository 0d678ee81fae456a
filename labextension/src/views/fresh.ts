/**
 * Something on the server that is fetched again whenever it has changed, but never twice at a time, and the more seldom the
 * longer it takes. In the browser.
 */
import * as React from 'react';

/** Milliseconds between the end of one request and the beginning of the next, at least. */
const PACE = 1000;
/** So many times as long as a request took is waited before the next. */
const EASE = 3;

export interface IFresh<T> {
  /** The last answer; undefined before the first. */
  value: T | undefined;
  /** Why the last attempt failed; undefined when it did not. */
  error: unknown;
}

export class Fresh<T> {
  /** `load` fetches it; `tell` hears of every answer. */
  constructor(
    private readonly load: () => Promise<T>,
    private readonly tell: (fresh: IFresh<T>) => void
  ) {}

  /** It may have changed: fetch it as soon as may be. */
  want(): void {
    this.wanted = true;
    this.next();
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.disposed = true;
  }

  private next(): void {
    if (this.wanted && !this.busy && !this.timer && !this.disposed) {
      this.wanted = false;
      this.busy = true;
      void this.fetch();
    }
  }

  private async fetch(): Promise<void> {
    const began = performance.now();
    let error: unknown;
    try {
      this.value = await this.load();
    } catch (reason) {
      error = reason ?? new Error();
    }
    this.busy = false;
    if (this.disposed) {
      return;
    }
    this.tell({ value: this.value, error });
    const wait = Math.max(PACE, (performance.now() - began) * EASE);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.next();
    }, wait);
  }

  private value: T | undefined;
  private wanted = false;
  private busy = false;
  private disposed = false;
  private timer = 0;
}

/**
 * What `load` answers, fetched again when `version` becomes another; nothing is fetched while not `visible`. `load` must be
 * the same function from one rendering to the next (`useCallback`).
 */
export function useFresh<T>(load: () => Promise<T>, version: unknown, visible: boolean): IFresh<T> {
  const [fresh, setFresh] = React.useState<IFresh<T>>({ value: undefined, error: undefined });
  const source = React.useRef<Fresh<T> | null>(null);
  React.useEffect(() => {
    source.current = new Fresh(load, setFresh);
    return () => source.current?.dispose();
  }, [load]);
  React.useEffect(() => {
    if (visible) {
      source.current?.want();
    }
  }, [load, version, visible]);
  return fresh;
}
