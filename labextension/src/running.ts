/**
 * Jobs that are not over, listed in JupyterLab's own panel of what is running. In the browser.
 */
import type { IRunningSessions } from '@jupyterlab/running';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';

import type { JobActions } from './actions';
import { stateIcon, stopIcon } from './icons';
import { CommandIDs } from './ids';
import { isFinal } from './jobs';
import type { IJob } from './protocol';
import type { ILepton } from './tokens';
import { notebook, progressWords, stateWord, title } from './words';

export function runningJobs(
  lepton: ILepton,
  actions: JobActions,
  commands: CommandRegistry,
  trans: TranslationBundle
): IRunningSessions.IManager {
  const runningChanged = new Signal<object, void>({});
  let listed = '';
  lepton.jobs.changed.connect(() => {
    // The core panel renders all of its items anew, so it hears only of what it shows.
    const shown = JSON.stringify(active(lepton).map(job => [job.id, job.state, job.name]));
    if (shown !== listed) {
      listed = shown;
      runningChanged.emit();
    }
  });
  const item = (job: IJob): IRunningSessions.IRunningItem => ({
    context: notebook(job),
    icon: () => stateIcon(job.state),
    label: () => title(job, trans),
    labelTitle: () => [title(job, trans), notebook(job), stateWord(job.state, trans)].join('\n'),
    detail: () =>
      [job.target, progressWords(lepton.jobs.get(job.id) ?? job, trans)]
        .filter(Boolean)
        .join(' · '),
    open: () => void commands.execute(CommandIDs.openJob, { job: job.id }),
    shutdown: () => void actions.stop(job, false)
  });
  return {
    name: trans.__('Lepton jobs'),
    running: () => active(lepton).map(item),
    runningChanged,
    refreshRunning: () => lepton.stream.retry(),
    shutdownLabel: trans.__('Stop'),
    shutdownAllLabel: trans.__('Stop All'),
    shutdownAllConfirmationText: trans.__('Stop all jobs that run or wait on your targets?'),
    shutdownItemIcon: stopIcon,
    shutdownAll: () => active(lepton).forEach(job => void actions.stop(job, false))
  };
}

function active(lepton: ILepton): IJob[] {
  const { counts, list } = lepton.jobs;
  return counts.running + counts.queued ? list.filter(job => !isFinal(job)) : [];
}
