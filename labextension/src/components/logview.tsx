/**
 * A log of any length: only the lines in sight exist. It follows the tail until one scrolls up, finds text, shows colours, and
 * is downloaded with a link. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { AnsiLine } from './log/ansi';
import { Lines, type IMatch } from './log/lines';
import { MOST_MATCHES, useSearch } from './log/search';
import { scrollTo, windowOf } from './log/window';

export interface ILogViewProps {
  /** All of the log as it is now. */
  text: string;
  /** Where it is downloaded. */
  href: string;
  trans: TranslationBundle;
  /** What is said when the log is empty. */
  empty?: string;
}

/** Pixels of a line; the style sheet gets it as a variable. */
const ROW = 18;
/** Pixels from the end within which one is at the tail. */
const NEAR = 4;
const NONE: ReadonlyArray<IMatch> = [];

export function LogView({ text, href, trans, empty }: ILogViewProps): JSX.Element {
  const lines = React.useState(() => new Lines())[0];
  const changed = React.useRef(Infinity);
  changed.current = Math.min(changed.current, lines.update(text));

  const scroller = React.useRef<HTMLDivElement>(null);
  const [scrolled, setScrolled] = React.useState(0);
  const [visible, setVisible] = React.useState(400);
  const [follows, setFollows] = React.useState(true);
  const [wanted, setWanted] = React.useState('');
  const [current, setCurrent] = React.useState(0);
  const { matches, complete } = useSearch(lines, text, changed, wanted);
  const byLine = React.useMemo(() => grouped(matches), [matches]);
  const visited = matches[Math.min(current, matches.length - 1)];

  React.useEffect(() => {
    const element = scroller.current;
    if (!element || typeof ResizeObserver === 'undefined') {
      return;
    }
    const observer = new ResizeObserver(() => setVisible(element.clientHeight || 400));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  React.useLayoutEffect(() => {
    const element = scroller.current;
    if (element && follows) {
      element.scrollTop = element.scrollHeight;
      setScrolled(element.scrollTop);
    }
  }, [text, follows, visible]);

  const onScroll = (): void => {
    const element = scroller.current;
    if (element) {
      setScrolled(element.scrollTop);
      setFollows(element.scrollTop + element.clientHeight >= element.scrollHeight - NEAR);
    }
  };

  const visit = (index: number): void => {
    const match = matches[index];
    const element = scroller.current;
    if (match && element) {
      setCurrent(index);
      setFollows(false);
      element.scrollTop = scrollTo(match.line, lines.length, ROW, visible);
      setScrolled(element.scrollTop);
    }
  };
  const step = (by: number): void => visit((current + by + matches.length) % matches.length);

  // The first match is visited once for what one has typed; not again when more text comes.
  const begun = React.useRef('');
  React.useEffect(() => {
    if (begun.current !== wanted && (matches.length || !wanted)) {
      begun.current = wanted;
      visit(0);
    }
  }, [wanted, matches]);

  const onSearchKey = (event: React.KeyboardEvent): void => {
    if (event.key === 'Enter' && matches.length) {
      step(event.shiftKey ? -1 : 1);
      event.preventDefault();
    } else if (event.key === 'Escape' && wanted) {
      setWanted('');
      event.stopPropagation();
    }
  };
  const search = React.useRef<HTMLInputElement>(null);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const finds = (event.ctrlKey || event.metaKey) && event.key === 'f';
    if (finds || (event.key === '/' && event.target === scroller.current)) {
      search.current?.select();
      search.current?.focus();
      event.preventDefault();
      event.stopPropagation();
    }
  };

  const shown = windowOf(lines.length, ROW, scrolled, visible);
  const tooLong = React.useCallback(
    (missing: number) => trans.__(' … and %1 more characters: download the log', missing),
    [trans]
  );
  return (
    <section
      className="lp-Log"
      aria-label={trans.__('Log')}
      onKeyDown={onKeyDown}
      style={{ '--lp-row': `${ROW}px` } as React.CSSProperties}
    >
      <div className="lp-Log-bar" role="toolbar" aria-label={trans.__('Log tools')}>
        <input
          ref={search}
          type="search"
          className="jp-mod-styled"
          placeholder={trans.__('Find in the log')}
          aria-label={trans.__('Find in the log')}
          value={wanted}
          onChange={event => setWanted(event.target.value)}
          onKeyDown={onSearchKey}
        />
        <span className="lp-Log-count" role="status">
          {wanted && counted(matches.length, complete, current, trans)}
        </span>
        <button
          className="lp-IconButton"
          disabled={!matches.length}
          onClick={() => step(-1)}
          title={trans.__('Previous match (Shift Enter)')}
          aria-label={trans.__('Previous match')}
        >
          ↑
        </button>
        <button
          className="lp-IconButton"
          disabled={!matches.length}
          onClick={() => step(1)}
          title={trans.__('Next match (Enter)')}
          aria-label={trans.__('Next match')}
        >
          ↓
        </button>
        <label className="lp-Log-follow">
          <input
            type="checkbox"
            checked={follows}
            onChange={event => setFollows(event.target.checked)}
          />
          {trans.__('Follow')}
        </label>
        <span className="lp-Log-length">
          {trans._n('%2 line', '%2 lines', lines.length, lines.length.toLocaleString())}
        </span>
        <a className="lp-button" href={href} download>
          {trans.__('Download')}
        </a>
      </div>
      <div
        ref={scroller}
        className="lp-Log-scroll"
        role="region"
        aria-label={trans.__('Text of the log')}
        tabIndex={0}
        onScroll={onScroll}
      >
        {lines.length === 0 && <p className="lp-Log-empty">{empty ?? trans.__('Nothing yet.')}</p>}
        <div className="lp-Log-all" style={{ height: shown.height }}>
          <div className="lp-Log-window" style={{ top: shown.top }}>
            {range(shown.first, shown.end).map(index => (
              <div key={index} className="lp-Log-line">
                <AnsiLine
                  line={lines.coloured(index)}
                  matches={byLine.get(index) ?? NONE}
                  current={visited?.line === index ? visited : undefined}
                  tooLong={tooLong}
                />
              </div>
            ))}
          </div>
        </div>
      </div>
    </section>
  );
}

/** "3 of 12", "no match"; the count is open above its limit, and while lines are still to be looked at. */
function counted(
  count: number,
  complete: boolean,
  current: number,
  trans: TranslationBundle
): string {
  if (!count) {
    return complete ? trans.__('no match') : trans.__('searching…');
  }
  const open = !complete ? '…' : count >= MOST_MATCHES ? '+' : '';
  const all = count.toLocaleString() + open;
  return trans.__('%1 of %2', Math.min(current, count - 1) + 1, all);
}

function grouped(matches: readonly IMatch[]): Map<number, IMatch[]> {
  const byLine = new Map<number, IMatch[]>();
  for (const match of matches) {
    const line = byLine.get(match.line);
    if (line) {
      line.push(match);
    } else {
      byLine.set(match.line, [match]);
    }
  }
  return byLine;
}

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}
