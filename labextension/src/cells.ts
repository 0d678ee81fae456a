/**
 * Where a job came from: its notebook opened, its cell in view. In the browser.
 */
import type { ICellModel } from '@jupyterlab/cells';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IJob } from './protocol';

/** Show a job's cell. Throws an error for people when there is no such notebook here, or no such cell in it. */
export async function goToCell(
  job: IJob,
  documents: IDocumentManager,
  trans: TranslationBundle
): Promise<void> {
  if (job.path === null) {
    throw new Error(
      job.notebook
        ? trans.__('its notebook %1 is outside of the folder that this server shows', job.notebook)
        : trans.__('it was not started from a notebook')
    );
  }
  const widget = documents.openOrReveal(job.path) as NotebookPanel | undefined;
  if (!widget?.content?.model && !widget?.context) {
    return; // It opened in a page of its own, as Notebook 7 does.
  }
  await widget.context.ready;
  await widget.revealed;
  const index = cellIndex(widget, job);
  if (index < 0) {
    throw new Error(trans.__('its cell is no longer in %1', job.path));
  }
  const { content } = widget;
  content.activeCellIndex = index;
  content.deselectAll();
  await content.scrollToItem(index, 'smart');
  widget.activate();
}

/** By the cell's id; else by the job's id, which its cell was given when it ran. */
function cellIndex(panel: NotebookPanel, job: IJob): number {
  const cells: ICellModel[] = [...(panel.content.model?.cells ?? [])];
  const byId = cells.findIndex(cell => cell.id === job.cell_id);
  return byId >= 0
    ? byId
    : cells.findIndex(cell => {
        const note = cell.getMetadata('lepton') as { job?: unknown } | undefined;
        return note?.job === job.id;
      });
}
