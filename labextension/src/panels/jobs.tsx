/**
 * The section of jobs: what to look for, what happened meanwhile, and the list. In the browser.
 */
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, copyIcon, ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { JobActions } from '../actions';
import type { Away } from '../away';
import { JOBS } from '../ids';
import { GROUPS, type JobGroup, type JobsModel } from '../jobs';
import type { IJob } from '../protocol';
import type { JobSelection } from '../selection';
import { groupWord } from '../words';
import { ALL, arranged, filtered, type IJobFilter } from './filter';
import { JobList } from './joblist';

const FIRST_CELL = `%load_ext lepton_jupyter`;
const SECOND_CELL = `%%lepton_train --on local
print("hello")`;

interface IPanelProps {
  jobs: JobsModel;
  actions: JobActions;
  away: Away;
  selection: JobSelection;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export class JobsPanel extends ReactWidget {
  constructor(private readonly props: IPanelProps) {
    super();
    this.id = JOBS;
    this.addClass('lp-root');
    this.addClass('lp-JobsPanel');
    this.title.label = props.trans.__('Jobs');
  }

  protected override render(): JSX.Element {
    return <Jobs {...this.props} />;
  }
}

export function Jobs(props: IPanelProps): JSX.Element {
  const { actions, away, commands, jobs, selection, trans } = props;
  const [filter, setFilter] = React.useState<IJobFilter>(ALL);
  const version = useVersion(jobs);
  const stopping = useStopping(actions);
  const selected = useSelected(selection);
  // The list changes in place, so what is made of it is made anew for each version.
  const shown = React.useMemo(() => arranged(filtered(jobs.list, filter)), [jobs, filter, version]);
  const select = React.useCallback((id: string) => (selection.id = id), [selection]);
  const show = (found: readonly IJob[], group: JobGroup | null): void => {
    setFilter({ text: '', group });
    selection.id = found[0]?.id ?? null;
  };

  // The newest come first, so what is there already is shown while the rest comes.
  if (jobs.number === null && !jobs.list.length) {
    return <div className="lp-Empty">{trans.__('Waiting for the list of jobs…')}</div>;
  }
  if (!jobs.list.length) {
    return <FirstSteps trans={trans} />;
  }
  return (
    <>
      <FilterBar filter={filter} onChange={setFilter} counts={jobs.counts} trans={trans} />
      <UseSignal signal={away.changed}>
        {() => <AwayLine away={away} onShow={show} trans={trans} />}
      </UseSignal>
      {shown.length ? (
        <JobList
          jobs={shown}
          stopping={stopping}
          selected={selected}
          onSelect={select}
          commands={commands}
          trans={trans}
        />
      ) : (
        <div className="lp-Empty">
          <p>{trans.__('No job matches.')}</p>
          <button type="button" className="lp-button" onClick={() => setFilter(ALL)}>
            {trans.__('Show all jobs')}
          </button>
        </div>
      )}
    </>
  );
}

interface IFilterProps {
  filter: IJobFilter;
  onChange: (filter: IJobFilter) => void;
  counts: Readonly<Record<JobGroup, number>>;
  trans: TranslationBundle;
}

function FilterBar({ filter, onChange, counts, trans }: IFilterProps): JSX.Element {
  return (
    <div className="lp-Filter" role="search">
      <input
        type="search"
        className="lp-Filter-text"
        placeholder={trans.__('Filter jobs…')}
        aria-label={trans.__('Filter jobs by name, notebook, target or cause')}
        value={filter.text}
        onChange={event => onChange({ ...filter, text: event.target.value })}
      />
      <div className="lp-Chips" role="group" aria-label={trans.__('Filter jobs by state')}>
        {GROUPS.filter(group => counts[group] || filter.group === group).map(group => (
          <button
            key={group}
            type="button"
            className="lp-Chip"
            data-group={group}
            aria-pressed={filter.group === group}
            onClick={() => onChange({ ...filter, group: filter.group === group ? null : group })}
          >
            {groupWord(group, trans)} <span className="lp-Chip-count">{counts[group]}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

interface IAwayProps {
  away: Away;
  onShow: (jobs: readonly IJob[], group: JobGroup | null) => void;
  trans: TranslationBundle;
}

function AwayLine({ away, onShow, trans }: IAwayProps): JSX.Element | null {
  const failed = away.ended.filter(job => job.state === 'FAILED');
  const done = away.ended.filter(job => job.state !== 'FAILED');
  if (!away.ended.length) {
    return null;
  }
  return (
    <div className="lp-Away" role="status">
      <span>{trans.__('While you were away:')}</span>
      {done.length > 0 && (
        <button type="button" className="lp-TextLink" onClick={() => onShow(done, 'done')}>
          {trans._n('%1 finished', '%1 finished', done.length)}
        </button>
      )}
      {failed.length > 0 && (
        <button type="button" className="lp-TextLink" onClick={() => onShow(failed, 'failed')}>
          {trans._n('%1 failed', '%1 failed', failed.length)}
        </button>
      )}
      <button
        type="button"
        className="lp-IconButton"
        title={trans.__('Dismiss')}
        aria-label={trans.__('Dismiss')}
        onClick={() => away.dismiss()}
      >
        <closeIcon.react tag="span" />
      </button>
    </div>
  );
}

function FirstSteps({ trans }: { trans: TranslationBundle }): JSX.Element {
  return (
    <div className="lp-Empty">
      <p>{trans.__('No jobs yet. Put this into a cell, once per notebook:')}</p>
      <Example code={FIRST_CELL} trans={trans} />
      <p>{trans.__('Then run any cell elsewhere, and watch it here:')}</p>
      <Example code={SECOND_CELL} trans={trans} />
      <p className="lp-Hint">
        {trans.__('local is another kernel on this machine. Add a machine of yours under Targets.')}
      </p>
    </div>
  );
}

function Example({ code, trans }: { code: string; trans: TranslationBundle }): JSX.Element {
  return (
    <div className="lp-Example">
      <pre>{code}</pre>
      <button
        type="button"
        className="lp-IconButton"
        title={trans.__('Copy')}
        aria-label={trans.__('Copy %1', code.split('\n')[0])}
        onClick={() => Clipboard.copyToSystem(code)}
      >
        <copyIcon.react tag="span" />
      </button>
    </div>
  );
}

function useVersion(jobs: JobsModel): number {
  const [version, setVersion] = React.useState(0);
  React.useEffect(() => {
    const onChanged = (): void => setVersion(last => last + 1);
    onChanged();
    jobs.changed.connect(onChanged);
    return () => void jobs.changed.disconnect(onChanged);
  }, [jobs]);
  return version;
}

function useStopping(actions: JobActions): ReadonlySet<string> {
  const [stopping, setStopping] = React.useState(actions.stopping);
  React.useEffect(() => {
    const onChanged = (): void => setStopping(actions.stopping);
    actions.stoppingChanged.connect(onChanged);
    return () => void actions.stoppingChanged.disconnect(onChanged);
  }, [actions]);
  return stopping;
}

function useSelected(selection: JobSelection): string | null {
  const [id, setId] = React.useState(selection.id);
  React.useEffect(() => {
    const onChanged = (): void => setId(selection.id);
    selection.changed.connect(onChanged);
    return () => void selection.changed.disconnect(onChanged);
  }, [selection]);
  return id;
}
