/**
 * The names of our commands, plugins and widgets. In the browser.
 */
export const PLUGIN = 'lepton-jupyter:plugin';
export const SIDEBAR = 'lepton-sidebar';
/** Its sections. */
export const JOBS = 'lepton-jobs';
export const TARGETS = 'lepton-targets';
export const MODELS = 'lepton-models';
/** The domain of our translations, which lie in lepton_jupyter/locale. */
export const DOMAIN = 'lepton_jupyter';

export namespace CommandIDs {
  export const activate = 'lepton:activate';
  export const addTarget = 'lepton:add-target';
  export const attach = 'lepton:attach';
  export const goToCell = 'lepton:go-to-cell';
  export const openJob = 'lepton:open-job';
  export const openLog = 'lepton:open-log';
  export const openTarget = 'lepton:open-target';
  export const reconnect = 'lepton:reconnect';
  export const retry = 'lepton:retry';
  export const retryElsewhere = 'lepton:retry-elsewhere';
  export const settings = 'lepton:settings';
  export const stop = 'lepton:stop';
  export const writeOutputs = 'lepton:write-outputs';
}

/** What a row of the list offers, in this order; the first is what Enter and a double click do. */
export const JOB_ACTIONS: readonly string[] = [
  CommandIDs.goToCell,
  CommandIDs.openJob,
  CommandIDs.openLog,
  CommandIDs.attach,
  CommandIDs.retry,
  CommandIDs.retryElsewhere,
  CommandIDs.stop
];
