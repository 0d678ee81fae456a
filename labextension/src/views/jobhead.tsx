/**
 * The head of a job's page: state and cause, how far it is, times, cost, where its outputs are, what can be done. In the
 * browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { Ago, Elapsed, useClock } from '../components/clock';
import { duration } from '../components/format';
import { Progress } from '../components/meter';
import { stateIcon } from '../icons';
import { CommandIDs } from '../ids';
import { isFinal } from '../jobs';
import type { IJob } from '../protocol';
import {
  costWords,
  metricWords,
  notebook,
  progressWords,
  remaining,
  stateWord,
  title,
  writtenWords
} from '../words';

/** What the page offers, in this order. */
const ACTIONS: readonly string[] = [
  CommandIDs.stop,
  CommandIDs.retry,
  CommandIDs.retryElsewhere,
  CommandIDs.goToCell,
  CommandIDs.attach,
  CommandIDs.writeOutputs
];

/** How the kernels are called that nobody named: they go without saying. */
const OF_NOTEBOOK = 'notebook:';

interface IProps {
  job: IJob;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export function JobHead({ job, commands, trans }: IProps): JSX.Element {
  const Icon = stateIcon(job.state);
  const name = title(job, trans);
  const final = isFinal(job);
  return (
    <header className="lp-View-head" data-state={job.state}>
      <h1>
        <Icon.react tag="span" className="lp-View-icon" /> {name}
      </h1>
      <p className="lp-View-facts">
        <b role="status">{stateWord(job.state, trans)}</b>
        {notebook(job) && notebook(job) !== name && <span>{notebook(job)}</span>}
        <span>{trans.__('on %1', job.target)}</span>
        {job.kernel && !job.kernel.startsWith(OF_NOTEBOOK) && (
          <span>{trans.__('kernel %1', job.kernel)}</span>
        )}
        <Times job={job} trans={trans} />
        {costWords(job, trans) && <span>{costWords(job, trans)}</span>}
        {metricWords(job) && <span>{metricWords(job)}</span>}
        <Written job={job} trans={trans} />
      </p>
      {job.cause && <p className="lp-View-cause">{job.cause}</p>}
      {!final && job.telemetry.progress && <Advance job={job} name={name} trans={trans} />}
      <Actions job={job} commands={commands} trans={trans} />
    </header>
  );
}

function Times({ job, trans }: { job: IJob; trans: TranslationBundle }): JSX.Element {
  const { created, started, ended } = job;
  if (!isFinal(job)) {
    return started === null ? (
      <span>
        {trans.__('waiting for')} <Elapsed time={created} trans={trans} />
      </span>
    ) : (
      <span>
        {trans.__('running for')} <Elapsed time={started} trans={trans} />
      </span>
    );
  }
  return (
    <>
      {ended !== null && started !== null && (
        <span>{trans.__('took %1', duration(ended - started, trans))}</span>
      )}
      <span>
        {trans.__('ended')} <Ago time={ended ?? created} trans={trans} />
      </span>
    </>
  );
}

/** Where the outputs are. */
function Written({ job, trans }: { job: IJob; trans: TranslationBundle }): JSX.Element | null {
  const words =
    job.written.state === 'written' && isFinal(job)
      ? trans.__('outputs are in the notebook ✓')
      : writtenWords(job, trans);
  return words ? <span className="lp-View-written">{words}</span> : null;
}

function Advance({
  job,
  name,
  trans
}: {
  job: IJob;
  name: string;
  trans: TranslationBundle;
}): JSX.Element {
  const words = progressWords(job, trans);
  const left = useClock(now => {
    const seconds = remaining(job, now);
    return seconds === null ? '' : trans.__('%1 left', duration(seconds, trans));
  });
  return (
    <div className="lp-View-progress">
      <Progress fraction={job.telemetry.progress?.fraction ?? null} label={name} text={words} />
      <span>{[words, left].filter(Boolean).join(' · ')}</span>
    </div>
  );
}

function Actions({ job, commands, trans }: IProps): JSX.Element {
  const args = { job: job.id };
  return (
    <div
      className="lp-View-actions"
      role="toolbar"
      aria-label={trans.__('Actions for %1', title(job, trans))}
    >
      {ACTIONS.filter(id => commands.hasCommand(id) && commands.isVisible(id, args)).map(id => (
        <button
          key={id}
          type="button"
          className="lp-button"
          title={commands.caption(id, args)}
          disabled={!commands.isEnabled(id, args)}
          onClick={() => void commands.execute(id, args)}
        >
          {commands.label(id, args)}
        </button>
      ))}
    </div>
  );
}
