/**
 * The list of jobs, however long: only the rows on screen are drawn, and only those that changed again. A listbox for the
 * keyboard; the buttons of the row at hand are a toolbar right behind it. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { LabIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { JOB_ACTIONS } from '../ids';
import type { IJob } from '../protocol';
import { title } from '../words';
import { JobRow, rowHeight } from './jobrow';
import { offsets, reveal, rowAt, visible } from './windowing';

interface IListProps {
  jobs: readonly IJob[];
  /** Jobs that were told to stop and have not said so yet. */
  stopping: ReadonlySet<string>;
  selected: string | null;
  onSelect: (id: string) => void;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** Rows beyond either end of what is visible: React draws a frame later than the browser scrolls. */
const SPARE = 12;

const rowId = (id: string): string => `lp-job-${id}`;

export function JobList(props: IListProps): JSX.Element {
  const { commands, jobs, onSelect, selected, stopping, trans } = props;
  const scroller = React.useRef<HTMLDivElement>(null);
  const view = useView(scroller);
  const [hovered, setHovered] = React.useState<string | null>(null);
  const [focused, setFocused] = React.useState(false);

  const tops = React.useMemo(() => offsets(jobs, rowHeight), [jobs]);
  const [first, last] = visible(tops, view.top, view.height, SPARE);
  const current = selected === null ? -1 : jobs.findIndex(job => job.id === selected);
  const at = hovered !== null ? jobs.findIndex(job => job.id === hovered) : focused ? current : -1;

  const select = (index: number): void => {
    const job = jobs[Math.min(jobs.length - 1, Math.max(0, index))];
    if (job && scroller.current) {
      onSelect(job.id);
      const { clientHeight, scrollTop } = scroller.current;
      scroller.current.scrollTop = reveal(tops, jobs.indexOf(job), scrollTop, clientHeight);
    }
  };

  const onKeyDown = (event: React.KeyboardEvent): void => {
    const page = Math.max(1, rowAt(tops, view.top + view.height) - rowAt(tops, view.top) - 1);
    const steps: Record<string, number> = {
      ArrowDown: current + 1,
      ArrowUp: current < 0 ? 0 : current - 1,
      Home: 0,
      End: jobs.length - 1,
      PageDown: current + page,
      PageUp: current - page
    };
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      setHovered(null);
      select(steps[event.key]);
      event.preventDefault();
    }
  };

  const pointed = (event: React.SyntheticEvent): string | null =>
    (event.target as Element).closest<HTMLElement>('[data-job]')?.dataset.job ?? null;

  const onPointerDown = (event: React.PointerEvent): void => {
    const id = pointed(event);
    if (id !== null) {
      onSelect(id);
    }
  };

  return (
    <div
      ref={scroller}
      className="lp-JobList-scroll"
      tabIndex={-1}
      onScroll={view.onScroll}
      onPointerLeave={() => setHovered(null)}
      onFocus={() => setFocused(true)}
      onBlur={event => {
        // The toolbar must stay while the focus goes from the row to it.
        if (!event.currentTarget.contains(event.relatedTarget)) {
          setFocused(false);
        }
      }}
    >
      <div
        className="lp-JobList"
        role="listbox"
        aria-label={trans.__('Jobs')}
        aria-activedescendant={
          current >= first && current < last ? rowId(jobs[current].id) : undefined
        }
        tabIndex={0}
        style={{ height: tops[jobs.length] }}
        onFocus={event => {
          if (event.target === event.currentTarget && current < 0 && jobs.length) {
            onSelect(jobs[rowAt(tops, view.top)].id);
          }
        }}
        onKeyDown={onKeyDown}
        onPointerMove={event => setHovered(pointed(event))}
        onPointerDown={onPointerDown}
        onDoubleClick={event => {
          const id = pointed(event);
          if (id !== null) {
            void commands.execute(JOB_ACTIONS[0], { job: id });
          }
        }}
      >
        {jobs.slice(first, last).map((job, i) => (
          <JobRow
            key={job.id}
            id={rowId(job.id)}
            job={job}
            top={tops[first + i]}
            index={first + i}
            count={jobs.length}
            active={first + i === current}
            stopping={stopping.has(job.id)}
            trans={trans}
          />
        ))}
      </div>
      {at >= 0 && <JobActions commands={commands} job={jobs[at]} top={tops[at]} trans={trans} />}
    </div>
  );
}

interface IActionsProps {
  commands: CommandRegistry;
  job: IJob;
  top: number;
  trans: TranslationBundle;
}

/** What one can do with a job: the commands that it has now. */
function JobActions({ commands, job, top, trans }: IActionsProps): JSX.Element {
  const args = { job: job.id };
  return (
    <div
      className="lp-JobActions"
      role="toolbar"
      aria-label={trans.__('Actions for %1', title(job, trans))}
      style={{ transform: `translateY(${top}px)` }}
    >
      {JOB_ACTIONS.filter(id => commands.hasCommand(id) && commands.isVisible(id, args)).map(id => {
        const icon = commands.icon(id, args);
        const label = commands.label(id, args);
        return (
          <button
            key={id}
            type="button"
            className="lp-IconButton"
            title={commands.caption(id, args) || label}
            aria-label={label}
            disabled={!commands.isEnabled(id, args)}
            onClick={() => void commands.execute(id, args)}
          >
            {icon instanceof LabIcon ? <icon.react tag="span" /> : label}
          </button>
        );
      })}
    </div>
  );
}

/** Where an element is scrolled to, and how much of it one sees. */
function useView(ref: React.RefObject<HTMLElement>): {
  top: number;
  height: number;
  onScroll: () => void;
} {
  const [view, setView] = React.useState({ top: 0, height: 0 });
  const measure = React.useCallback(() => {
    const node = ref.current;
    if (node) {
      setView({ top: node.scrollTop, height: node.clientHeight });
    }
  }, [ref]);
  React.useLayoutEffect(() => {
    measure();
    const observer = new ResizeObserver(measure);
    if (ref.current) {
      observer.observe(ref.current);
    }
    return () => observer.disconnect();
  }, [measure, ref]);
  return { ...view, onScroll: measure };
}
