/**
 * Our commands: what the palette, the keyboard, the context menu and the buttons of a row can do. In the browser.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { ConsolePanel } from '@jupyterlab/console';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, refreshIcon, settingsIcon, type LabIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { JobActions } from './actions';
import { goToCell } from './cells';
import { attachIcon, goToIcon, leptonIcon, retryElsewhereIcon, retryIcon, stopIcon } from './icons';
import { CommandIDs, JOB_ACTIONS, PLUGIN, SIDEBAR } from './ids';
import { isFinal } from './jobs';
import { SHOWN } from './notify';
import { askForTarget } from './panels/targets-form';
import type { IJob } from './protocol';
import type { JobSelection } from './selection';
import type { ILepton } from './tokens';
import { title } from './words';

interface ICommandOptions {
  app: JupyterFrontEnd;
  lepton: ILepton;
  actions: JobActions;
  selection: JobSelection;
  documents: IDocumentManager;
  trans: TranslationBundle;
  /** Whether to ask before a job is stopped. */
  confirmStop: () => boolean;
}

/** The categories of the palette that `addCommands` fills are the result's ids. */
export function addCommands(options: ICommandOptions): string[] {
  addJobCommands(options);
  return [...addOtherCommands(options), ...PALETTE];
}

/** Commands of a job that make sense in the palette: they act on the selected job. */
const PALETTE = [...JOB_ACTIONS, CommandIDs.writeOutputs];

interface IJobCommand {
  id: string;
  label: string;
  /** With its key, for the button's tip. */
  caption: string;
  icon?: LabIcon;
  offered?: (job: IJob) => boolean;
  run: (job: IJob) => unknown;
}

function addJobCommands(options: ICommandOptions): void {
  const { actions, app, confirmStop, documents, lepton, selection, trans } = options;
  const { commands } = app;
  const jobOf = (args: ReadonlyPartialJSONObject): IJob | undefined => {
    const id = typeof args.job === 'string' ? args.job : selection.id;
    return id === null ? undefined : lepton.jobs.get(id);
  };
  const all: IJobCommand[] = [
    {
      id: CommandIDs.goToCell,
      label: trans.__('Go to Cell'),
      caption: trans.__('Go to its cell (Enter)'),
      icon: goToIcon,
      offered: job => job.path !== null,
      run: job =>
        goToCell(job, documents, trans).catch(error =>
          actions.say(error, trans.__('“%1” cannot be shown', title(job, trans)))
        )
    },
    {
      id: CommandIDs.attach,
      label: trans.__('Attach a Console'),
      caption: trans.__('Follow it in a console (A)'),
      icon: attachIcon,
      offered: job => !isFinal(job) && commands.hasCommand('console:create'),
      run: job => attach(job, options)
    },
    {
      id: CommandIDs.retry,
      label: trans.__('Run Again'),
      caption: trans.__('Run it again (R)'),
      icon: retryIcon,
      offered: isFinal,
      run: job => actions.retry(job)
    },
    {
      id: CommandIDs.retryElsewhere,
      label: trans.__('Run Again on Another Target…'),
      caption: trans.__('Run it again on another target (Shift R)'),
      icon: retryElsewhereIcon,
      offered: isFinal,
      run: job => actions.retryElsewhere(job)
    },
    {
      id: CommandIDs.stop,
      label: trans.__('Stop…'),
      caption: trans.__('Stop it (S)'),
      icon: stopIcon,
      offered: job => !isFinal(job) && !actions.stopping.has(job.id),
      run: job => actions.stop(job, confirmStop())
    },
    {
      id: CommandIDs.writeOutputs,
      label: trans.__('Write Outputs into the Notebook'),
      caption: trans.__('Put its outputs into its cell now'),
      offered: job => job.path !== null,
      run: job => actions.write(job)
    }
  ];
  for (const { caption, icon, id, label, offered, run } of all) {
    const can = (args: ReadonlyPartialJSONObject): boolean => {
      const job = jobOf(args);
      return !!job && (offered?.(job) ?? true);
    };
    commands.addCommand(id, {
      label,
      caption,
      icon,
      isVisible: can,
      isEnabled: can,
      execute: args => {
        const job = jobOf(args);
        return job && run(job);
      },
      describedBy: { args: { type: 'object', properties: { job: { type: 'string' } } } }
    });
  }
  const changed = (): void => all.forEach(({ id }) => commands.notifyCommandChanged(id));
  selection.changed.connect(changed);
  actions.stoppingChanged.connect(changed);
}

function addOtherCommands({ app, lepton, trans }: ICommandOptions): string[] {
  const { commands } = app;
  const describedBy = { args: { type: 'object' } };
  commands.addCommand(CommandIDs.activate, {
    label: trans.__('Show Jobs and Targets'),
    icon: leptonIcon,
    execute: () => app.shell.activateById(SIDEBAR),
    describedBy
  });
  commands.addCommand(CommandIDs.addTarget, {
    label: trans.__('Add a Target…'),
    caption: trans.__('Add a target'),
    icon: addIcon,
    execute: async () => {
      const name = await askForTarget(lepton, trans);
      if (name !== null) {
        Notification.success(trans.__('Cells can run on %1 now, with --on %1', name), {
          autoClose: SHOWN
        });
      }
      return name;
    },
    describedBy
  });
  commands.addCommand(CommandIDs.reconnect, {
    label: trans.__('Reconnect to the Server'),
    caption: trans.__('Reconnect now'),
    icon: refreshIcon,
    isEnabled: () => !lepton.stream.connected,
    isVisible: () => !lepton.stream.connected,
    execute: () => lepton.stream.retry(),
    describedBy
  });
  lepton.stream.statusChanged.connect(() => commands.notifyCommandChanged(CommandIDs.reconnect));
  commands.addCommand(CommandIDs.settings, {
    label: trans.__('Lepton Settings'),
    caption: trans.__('Settings'),
    icon: settingsIcon,
    isVisible: () => commands.hasCommand('settingeditor:open'),
    execute: () => commands.execute('settingeditor:open', { query: PLUGIN.split(':')[0] }),
    describedBy
  });
  // The editor may be there later than we are.
  void app.restored.then(() => commands.notifyCommandChanged(CommandIDs.settings));
  return [CommandIDs.activate, CommandIDs.addTarget, CommandIDs.reconnect, CommandIDs.settings];
}

/** A console of this machine that follows the job, and can run cells on its kernel. */
async function attach(job: IJob, { app, lepton, actions, trans }: ICommandOptions): Promise<void> {
  try {
    const panel = (await app.commands.execute('console:create', {
      name: title(job, trans),
      kernelPreference: { name: 'python3', shouldStart: true, canStart: true },
      activate: true
    })) as ConsolePanel;
    await panel.sessionContext.ready;
    // The id is the store's own, of letters and digits; anything else must not become code.
    if (/^[\w-]+$/.test(job.id) && lepton.jobs.get(job.id)) {
      await panel.console.inject(`%load_ext lepton_jupyter\n%lepton_attach ${job.id}`);
    }
  } catch (error) {
    actions.say(error, trans.__('No console could be opened'));
  }
}
