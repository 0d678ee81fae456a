/**
 * The plugins of this extension, one per thing it does. None needs more than it cannot do without, so that they run in
 * JupyterLab and Notebook 7 alike. In the browser.
 */
import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { JobActions } from './actions';
import { Away } from './away';
import { addCommands } from './commands';
import { CommandIDs, DOMAIN, JOBS, MODELS, PLUGIN, SIDEBAR, TARGETS } from './ids';
import { createLepton } from './models';
import { notebooks } from './notebooks';
import { Notifier } from './notify';
import { JobsPanel } from './panels/jobs';
import { ModelsPanel, whenModels } from './panels/models';
import { TargetsPanel } from './panels/targets';
import { Preferences } from './preferences';
import { runningJobs } from './running';
import { JobSelection } from './selection';
import { LeptonSidebar } from './sidebar';
import { LeptonStatus } from './status';
import {
  ILepton,
  ILeptonActions,
  ILeptonPanels,
  ILeptonPreferences,
  ILeptonStream
} from './tokens';
import { addViews } from './views';

/** Where the sidebar stands among others: third parties have 501 to 899. */
const RANK = 510;

const models: JupyterFrontEndPlugin<ILepton> = {
  id: 'lepton-jupyter:models',
  description: 'Keeps the jobs and targets of this user up to date.',
  autoStart: true,
  provides: ILepton,
  activate: (app: JupyterFrontEnd): ILepton => createLepton(app.serviceManager.serverSettings)
};

const stream: JupyterFrontEndPlugin<ILeptonStream> = {
  id: 'lepton-jupyter:stream',
  description: 'The stream of news about jobs and targets.',
  autoStart: true,
  requires: [ILepton],
  provides: ILeptonStream,
  activate: (_, lepton: ILepton): ILeptonStream => lepton.stream
};

const preferences: JupyterFrontEndPlugin<Preferences> = {
  id: PLUGIN,
  description: 'What the user chose in the settings.',
  autoStart: true,
  optional: [ISettingRegistry],
  provides: ILeptonPreferences,
  activate: (_, registry: ISettingRegistry | null): Preferences => {
    const chosen = new Preferences();
    registry?.load(PLUGIN).then(
      settings => chosen.follow(settings),
      reason => console.warn('The settings of Lepton could not be loaded.', reason)
    );
    return chosen;
  }
};

const actions: JupyterFrontEndPlugin<JobActions> = {
  id: 'lepton-jupyter:actions',
  description: 'What a person can do to a job.',
  autoStart: true,
  requires: [ILepton],
  optional: [ITranslator],
  provides: ILeptonActions,
  activate: (_, lepton: ILepton, translator: ITranslator | null): JobActions =>
    new JobActions(lepton, (translator ?? nullTranslator).load(DOMAIN))
};

const sidebar: JupyterFrontEndPlugin<ILeptonPanels> = {
  id: 'lepton-jupyter:sidebar',
  description: 'The sidebar of jobs and targets, their views and their commands.',
  autoStart: true,
  requires: [ILepton, ILeptonActions, ILeptonPreferences, IDocumentManager],
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, ILabShell],
  provides: ILeptonPanels,
  activate: (
    app: JupyterFrontEnd,
    lepton: ILepton,
    jobActions: JobActions,
    chosen: Preferences,
    documents: IDocumentManager,
    maybeTranslator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    labShell: ILabShell | null
  ): ILeptonPanels => {
    const { commands, shell } = app;
    const translator = maybeTranslator ?? nullTranslator;
    const trans = translator.load(DOMAIN);
    const selection = new JobSelection();
    const common = { app, lepton, selection, trans };
    addViews({ ...common, restorer });
    const confirmStop = (): boolean => chosen.confirmStop;
    const offered = addCommands({ ...common, actions: jobActions, documents, confirmStop });
    offered.forEach(command => palette?.addItem({ command, category: trans.__('Lepton') }));

    const away = new Away(lepton.jobs, `lepton:seen:${lepton.api.settings.baseUrl}`);
    const widget = new LeptonSidebar(lepton, commands, translator, trans);
    widget.add({
      id: TARGETS,
      title: trans.__('Targets'),
      rank: 100,
      widget: new TargetsPanel({
        lepton,
        trans,
        open: target => void commands.execute(CommandIDs.openTarget, { target }),
        add: () => void commands.execute(CommandIDs.addTarget)
      })
    });
    widget.add({
      id: JOBS,
      title: trans.__('Jobs'),
      rank: 200,
      widget: new JobsPanel({
        jobs: lepton.jobs,
        actions: jobActions,
        away,
        selection,
        commands,
        trans
      })
    });
    whenModels(lepton.jobs, () =>
      widget.add({
        id: MODELS,
        title: trans.__('Models'),
        rank: 300,
        widget: new ModelsPanel({
          lepton,
          trans,
          open: job => void commands.execute(CommandIDs.openJob, { job })
        })
      })
    );
    // Notebook 7 keeps its left side for the notebook's own outline.
    shell.add(widget, labShell ? 'left' : 'right', { rank: RANK, type: 'Lepton' });
    restorer?.add(widget, SIDEBAR);
    return widget;
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: 'lepton-jupyter:status',
  description: 'Says in the status bar what runs.',
  autoStart: true,
  requires: [ILepton, ILeptonPreferences],
  optional: [ITranslator, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    lepton: ILepton,
    chosen: Preferences,
    translator: ITranslator | null,
    bar: IStatusBar | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const item = new LeptonStatus(
      lepton,
      trans,
      () => void app.commands.execute(CommandIDs.activate)
    );
    const shown = (): void => item.setHidden(!chosen.statusBar);
    chosen.changed.connect(shown);
    shown();
    bar?.registerStatusItem('lepton-jupyter:status', {
      item,
      align: 'left',
      rank: 4,
      isActive: () => item.hasWords,
      activeStateChanged: item.hasWordsChanged
    });
  }
};

const running: JupyterFrontEndPlugin<void> = {
  id: 'lepton-jupyter:running',
  description: 'Lists jobs among the kernels and terminals that run.',
  autoStart: true,
  requires: [ILepton, ILeptonActions],
  optional: [ITranslator, IRunningSessionManagers],
  activate: (
    app: JupyterFrontEnd,
    lepton: ILepton,
    jobActions: JobActions,
    translator: ITranslator | null,
    managers: IRunningSessionManagers | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    managers?.add(runningJobs(lepton, jobActions, app.commands, trans));
  }
};

const notifications: JupyterFrontEndPlugin<void> = {
  id: 'lepton-jupyter:notifications',
  description: 'Says once when a job ended.',
  autoStart: true,
  requires: [ILepton, ILeptonPreferences],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    lepton: ILepton,
    chosen: Preferences,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const open = (job: { id: string } | null): void =>
      void (job
        ? app.commands.execute(CommandIDs.openJob, { job: job.id })
        : app.commands.execute(CommandIDs.activate));
    new Notifier(lepton, trans, open, chosen).listen(app.serviceManager.events);
  }
};

export { ILepton, ILeptonPanels, ILeptonStream } from './tokens';
export default [
  models,
  stream,
  preferences,
  actions,
  sidebar,
  status,
  running,
  notifications,
  notebooks
];
