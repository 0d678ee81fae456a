/**
 * Relative times that stay right: "3 min ago". All of a page's relative times share one timer, and it rests while the page
 * is hidden or nothing shows a time. In the browser.
 */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import { ago, duration } from './format';

/** Seconds between two looks at the clock. */
const TICK = 1;

const readers = new Set<() => void>();
let timer = 0;
let now = Date.now() / 1000;

/** The time that everybody is shown; between two ticks it stands still, so that nothing renders for it. */
function read(): number {
  const exact = Date.now() / 1000;
  if (!timer && Math.abs(exact - now) >= TICK) {
    now = exact;
  }
  return now;
}

function tick(): void {
  now = Date.now() / 1000;
  readers.forEach(changed => changed());
}

function schedule(): void {
  const wanted = readers.size > 0 && !document.hidden;
  if (wanted && !timer) {
    now = Date.now() / 1000;
    timer = window.setInterval(tick, TICK * 1000);
  } else if (!wanted && timer) {
    window.clearInterval(timer);
    timer = 0;
  }
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && readers.size) {
    tick();
  }
  schedule();
});

function subscribe(changed: () => void): () => void {
  readers.add(changed);
  schedule();
  return () => {
    readers.delete(changed);
    schedule();
  };
}

/**
 * What `words` makes of the time now (epoch seconds). The component renders again only when that changes, so a text that
 * changes once a minute costs one rendering a minute.
 */
export function useClock<T extends string | number | boolean>(words: (now: number) => T): T {
  return React.useSyncExternalStore(subscribe, () => words(read()));
}

interface ITimeProps {
  /** Epoch seconds. */
  time: number;
  trans: TranslationBundle;
}

/** "3 min ago", with the exact moment on hovering. */
export function Ago({ time, trans }: ITimeProps): JSX.Element {
  const words = useClock(at => ago(time, at, trans));
  const date = new Date(time * 1000);
  return (
    <time dateTime={date.toISOString()} title={date.toLocaleString()}>
      {words}
    </time>
  );
}

/** How long ago `time` was, as a duration: "14 min". */
export function Elapsed({ time, trans }: ITimeProps): JSX.Element {
  return <>{useClock(at => duration(at - time, trans))}</>;
}
