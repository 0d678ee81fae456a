/**
 * One job in the list: what it is, where it runs, how far it is. Everything is text, wherever it came from. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Elapsed, useClock } from '../components/clock';
import { duration, figure } from '../components/format';
import { Progress } from '../components/meter';
import { Sparkline } from '../components/sparkline';
import { stateIcon } from '../icons';
import { isFinal } from '../jobs';
import type { IJob } from '../protocol';
import {
  costWords,
  metricWords,
  notebook,
  percentWords,
  remaining,
  stateWord,
  stepWords,
  title,
  writtenWords
} from '../words';

const LINE = 18;
const PADDING = 10;

interface ILinesProps {
  job: IJob;
  name: string;
  trans: TranslationBundle;
}

interface IRowProps {
  job: IJob;
  id: string;
  top: number;
  index: number;
  count: number;
  active: boolean;
  stopping: boolean;
  trans: TranslationBundle;
}

/** Which lines a row has below its two; it must agree with what `JobRow` draws. */
function extras(job: IJob): { progress: boolean; metric: boolean; cause: boolean; note: boolean } {
  const final = isFinal(job);
  return {
    progress: !final && !!job.telemetry.progress,
    metric: !final && !!job.telemetry.metric,
    cause: job.state === 'FAILED' && !!job.cause,
    note: final && ['waiting', 'gone', 'failed'].includes(job.written.state ?? '')
  };
}

/** Pixels. */
export function rowHeight(job: IJob): number {
  const { cause, metric, note, progress } = extras(job);
  return (
    PADDING + LINE * (2 + 2 * Number(progress) + Number(metric) + Number(cause) + Number(note))
  );
}

export const JobRow = React.memo(function JobRow(props: IRowProps): JSX.Element {
  const { active, count, id, index, job, stopping, top, trans } = props;
  const has = extras(job);
  const name = title(job, trans);
  const Icon = stateIcon(job.state);
  const word = stopping ? trans.__('Stopping…') : stateWord(job.state, trans);
  return (
    <div
      id={id}
      className={`lp-Job${active ? ' jp-mod-active' : ''}`}
      role="option"
      aria-selected={active}
      aria-setsize={count}
      aria-posinset={index + 1}
      data-job={job.id}
      data-state={job.state}
      style={{ transform: `translateY(${top}px)`, height: rowHeight(job) }}
    >
      <div className="lp-Job-line">
        <Icon.react tag="span" className="lp-Job-icon" />
        <span className="lp-Job-title" title={name}>
          {name}
        </span>
        <span className="lp-Job-state">{word}</span>
      </div>
      <div className="lp-Job-line lp-Job-place">
        <Parts>
          {notebook(job) !== name && notebook(job)}
          {job.target}
          <Times job={job} trans={trans} />
          {!has.metric && costWords(job, trans)}
        </Parts>
      </div>
      {has.progress && <ProgressLines job={job} name={name} trans={trans} />}
      {has.metric && <MetricLine job={job} trans={trans} />}
      {has.cause && (
        <div className="lp-Job-line lp-Job-cause" title={job.cause}>
          {job.cause.split('\n', 1)[0]}
        </div>
      )}
      {has.note && (
        <div className="lp-Job-line lp-Job-note" title={writtenWords(job, trans)}>
          {writtenWords(job, trans)}
        </div>
      )}
    </div>
  );
});

/** "resnet · gpu1 · 14 min": what is empty leaves no dot behind. */
function Parts({ children }: { children: React.ReactNode[] }): JSX.Element {
  const parts = children.filter(Boolean);
  return (
    <span className="lp-Job-parts">
      {parts.map((part, i) => (
        <React.Fragment key={i}>
          {i > 0 && <span aria-hidden="true"> · </span>}
          {part}
        </React.Fragment>
      ))}
    </span>
  );
}

/** How long it has run, or when it ended and how long it took. */
function Times({ job, trans }: { job: IJob; trans: TranslationBundle }): JSX.Element {
  if (!isFinal(job)) {
    return <Elapsed time={job.started ?? job.created} trans={trans} />;
  }
  const ended = job.ended ?? job.created;
  const took = duration(ended - (job.started ?? job.created), trans);
  const at = new Date(ended * 1000);
  return (
    <time dateTime={at.toISOString()} title={at.toLocaleString()}>
      {trans.__('%1, took %2', clock(at), took)}
    </time>
  );
}

/** How far it is, and what remains. */
function ProgressLines({ job, name, trans }: ILinesProps): JSX.Element {
  const words = percentWords(job, trans);
  const left = useClock(now => {
    const seconds = remaining(job, now);
    return seconds === null ? '' : trans.__('%1 left', duration(seconds, trans));
  });
  return (
    <>
      <div className="lp-Job-line">
        <Progress
          fraction={job.telemetry.progress?.fraction ?? null}
          label={name}
          text={[stepWords(job), words].filter(Boolean).join(' · ')}
        />
        <span className="lp-Job-percent">{words}</span>
      </div>
      <div className="lp-Job-line lp-Job-progress">
        <Parts>{[stepWords(job), left]}</Parts>
      </div>
    </>
  );
}

function MetricLine({ job, trans }: { job: IJob; trans: TranslationBundle }): JSX.Element {
  const words = metricWords(job);
  return (
    <div className="lp-Job-line lp-Job-metric">
      <span className="lp-Job-value" title={words}>
        {words}
      </span>
      <Sparkline
        points={job.telemetry.metric?.points ?? []}
        width={72}
        height={16}
        label={words}
        format={(seconds, value) => `${duration(seconds, trans)}: ${figure(value)}`}
      />
      <span className="lp-Job-cost">{costWords(job, trans)}</span>
    </div>
  );
}

/** The time of day; the day alone when it was another. */
function clock(at: Date): string {
  return at.toDateString() === new Date().toDateString()
    ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : at.toLocaleDateString([], { day: 'numeric', month: 'short' });
}
