/**
 * Opens jobs and targets in the main area, once each, and again after a reload. In the browser.
 */
import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { logIcon, openIcon } from './icons';
import { CommandIDs } from './ids';
import type { JobSelection } from './selection';
import type { ILepton } from './tokens';
import { createJobView, type JobView } from './views/job';
import { createTargetView, type TargetView } from './views/target';

interface IViewsOptions {
  app: JupyterFrontEnd;
  lepton: ILepton;
  selection: JobSelection;
  restorer: ILayoutRestorer | null;
  trans: TranslationBundle;
}

interface IViews {
  jobs: WidgetTracker<MainAreaWidget<JobView>>;
  targets: WidgetTracker<MainAreaWidget<TargetView>>;
}

/** Answers the trackers of what is open: of jobs and of targets. */
export function addViews({ app, lepton, selection, restorer, trans }: IViewsOptions): IViews {
  const { commands, shell } = app;
  const jobs = new WidgetTracker<MainAreaWidget<JobView>>({ namespace: 'lepton-jobs' });
  const targets = new WidgetTracker<MainAreaWidget<TargetView>>({ namespace: 'lepton-targets' });
  const jobId = (args: { job?: unknown }): string | null =>
    typeof args.job === 'string' ? args.job : selection.id;

  const openJob = (job: string): MainAreaWidget<JobView> => {
    const widget =
      jobs.find(({ content }) => content.job === job) ??
      createJobView({ lepton, commands, trans, job });
    if (!jobs.has(widget)) {
      void jobs.add(widget);
      shell.add(widget, 'main');
    }
    shell.activateById(widget.id);
    return widget;
  };
  const openTarget = (target: string): MainAreaWidget<TargetView> => {
    const open = (job: string): unknown => commands.execute(CommandIDs.openJob, { job });
    const widget =
      targets.find(({ content }) => content.target === target) ??
      createTargetView({ lepton, trans, target, openJob: open });
    if (!targets.has(widget)) {
      void targets.add(widget);
      shell.add(widget, 'main');
    }
    shell.activateById(widget.id);
    return widget;
  };

  const withJob = { args: { type: 'object', properties: { job: { type: 'string' } } } } as const;
  commands.addCommand(CommandIDs.openJob, {
    label: trans.__('Open Job'),
    caption: trans.__('Open it in the main area (O)'),
    icon: openIcon,
    isVisible: args => jobId(args) !== null,
    isEnabled: args => jobId(args) !== null,
    execute: args => {
      const job = jobId(args);
      return job === null ? undefined : openJob(job);
    },
    describedBy: withJob
  });
  commands.addCommand(CommandIDs.openLog, {
    label: trans.__('Open Log'),
    caption: trans.__('Open its log (L)'),
    icon: logIcon,
    isVisible: args => jobId(args) !== null,
    isEnabled: args => jobId(args) !== null,
    execute: async args => {
      const job = jobId(args);
      if (job !== null) {
        const widget = openJob(job);
        await widget.revealed;
        widget.content.showLog();
      }
    },
    describedBy: withJob
  });
  commands.addCommand(CommandIDs.openTarget, {
    label: trans.__('Open Target'),
    isEnabled: ({ target }) => typeof target === 'string',
    isVisible: ({ target }) => typeof target === 'string',
    execute: ({ target }) => (typeof target === 'string' ? openTarget(target) : undefined),
    describedBy: { args: { type: 'object', properties: { target: { type: 'string' } } } }
  });
  selection.changed.connect(() => {
    commands.notifyCommandChanged(CommandIDs.openJob);
    commands.notifyCommandChanged(CommandIDs.openLog);
  });

  if (restorer) {
    void restorer.restore(jobs, {
      command: CommandIDs.openJob,
      args: ({ content }) => ({ job: content.job }),
      name: ({ content }) => content.job
    });
    void restorer.restore(targets, {
      command: CommandIDs.openTarget,
      args: ({ content }) => ({ target: content.target }),
      name: ({ content }) => content.target
    });
  }
  return { jobs, targets };
}
