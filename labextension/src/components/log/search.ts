/**
 * Looks for a text in very many lines, a little at a time, so that the page never stands still. In the browser.
 */
import * as React from 'react';

import type { IMatch, Lines } from './lines';

/** More matches than this are not counted: nobody visits them all. */
export const MOST_MATCHES = 10000;
/** Lines between two looks at the clock, and milliseconds at a time. */
const SOME = 500;
const SLICE = 12;

export interface IFound {
  /** From top to bottom. Replaced, never changed. */
  matches: readonly IMatch[];
  /** All lines were looked at. */
  complete: boolean;
}

export class Search {
  /** Upper and lower case are the same. `tell` hears of what was found so far, the first time at once. */
  constructor(
    private readonly lines: Lines,
    wanted: string,
    private readonly tell: (found: IFound) => void
  ) {
    this.pattern = new RegExp(wanted.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'), 'giu');
    this.work();
  }

  /** The lines from `first` on are others now. */
  again(first: number): void {
    if (first < this.next) {
      this.next = first;
      this.matches = this.matches.filter(({ line }) => line < first);
    }
    window.clearTimeout(this.timer);
    this.work();
  }

  dispose(): void {
    window.clearTimeout(this.timer);
  }

  private readonly work = (): void => {
    const until = performance.now() + SLICE;
    const found: IMatch[] = [];
    const room = MOST_MATCHES - this.matches.length;
    while (!this.done(found.length) && performance.now() < until) {
      found.push(...this.lines.find(this.pattern, this.next, this.next + SOME));
      this.next += SOME;
    }
    this.next = Math.min(this.next, this.lines.length);
    const complete = this.done(found.length);
    if (found.length || complete) {
      this.matches = [...this.matches, ...found.slice(0, room)];
    }
    if (!complete) {
      this.timer = window.setTimeout(this.work, 0);
    }
    if (found.length || complete) {
      this.tell({ matches: this.matches, complete });
    }
  };

  private done(found: number): boolean {
    return this.next >= this.lines.length || this.matches.length + found >= MOST_MATCHES;
  }

  private readonly pattern: RegExp;
  private matches: readonly IMatch[] = [];
  private next = 0;
  private timer = 0;
}

interface IResult extends IFound {
  wanted: string;
}

/** Where `wanted` is in the lines, as far as is known. `changed` names the first line that `text` brought another for. */
export function useSearch(
  lines: Lines,
  text: string,
  changed: React.MutableRefObject<number>,
  wanted: string
): IFound {
  const [result, setResult] = React.useState<IResult>({ ...NOTHING, wanted: '' });
  const search = React.useRef<Search | null>(null);
  React.useEffect(() => {
    if (!wanted) {
      return;
    }
    const begun = new Search(lines, wanted, found => setResult({ ...found, wanted }));
    search.current = begun;
    return () => {
      begun.dispose();
      search.current = null;
    };
  }, [lines, wanted]);
  React.useEffect(() => {
    search.current?.again(changed.current);
    changed.current = Infinity;
  }, [changed, text]);
  return result.wanted === wanted ? result : NOTHING;
}

const NOTHING: IFound = { matches: [], complete: false };
