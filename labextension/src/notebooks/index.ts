/**
 * Outputs find their way home: this page's share of it. In the browser.
 *
 * The server decides who writes a job's outputs into its notebook. When that is this page, it puts them into the cell's
 * model, where undo does not reach them; when it was the server itself, this page takes in what it wrote.
 */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';

import { ILeptonStream } from '../tokens';
import { Claims } from './claims';

export const notebooks: JupyterFrontEndPlugin<void> = {
  id: 'lepton-jupyter:notebooks',
  description: 'Puts the outputs of jobs into the notebooks that are open.',
  autoStart: true,
  requires: [ILeptonStream, INotebookTracker],
  activate: (app: JupyterFrontEnd, stream: ILeptonStream, tracker: INotebookTracker): void => {
    new Claims(stream, tracker, app.serviceManager.contents);
  }
};
