/**
 * How wide an element is, for what is drawn to fit. In the browser.
 */
import * as React from 'react';

/** A reference to hand to an element, and its present width in pixels; `initial` until it is laid out. */
export function useWidth<T extends HTMLElement>(initial: number): [React.RefCallback<T>, number] {
  const [width, setWidth] = React.useState(initial);
  const observer = React.useRef<ResizeObserver | null>(null);
  const frame = React.useCallback((element: T | null) => {
    observer.current?.disconnect();
    observer.current = null;
    if (element && typeof ResizeObserver !== 'undefined') {
      observer.current = new ResizeObserver(entries => {
        const next = Math.floor(entries[entries.length - 1].contentRect.width);
        if (next > 0) {
          setWidth(next);
        }
      });
      observer.current.observe(element);
    }
  }, []);
  return [frame, width];
}
