/**
 * Our icons. Their colours are classes of JupyterLab's theme. In the browser.
 */
import { LabIcon } from '@jupyterlab/ui-components';

import type { IJob } from './protocol';

function icon(name: string, drawing: string): LabIcon {
  return new LabIcon({
    name: `lepton-jupyter:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16">${drawing}</svg>`
  });
}

// Themes give `jp-icon3` their colour wherever there is a fill or a stroke, so what has none says so by its style.
const STROKE =
  'style="fill:none" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"';

/** A particle and its track. */
export const leptonIcon = icon(
  'lepton',
  '<g class="jp-icon3" fill="#616161"><circle cx="8" cy="8" r="2.1"/></g>' +
    '<g class="jp-icon3" style="fill:none" stroke="#616161" stroke-width="1.3">' +
    '<ellipse cx="8" cy="8" rx="7" ry="2.9" transform="rotate(-35 8 8)"/>' +
    '<ellipse cx="8" cy="8" rx="7" ry="2.9" transform="rotate(35 8 8)"/></g>'
);

export const goToIcon = icon(
  'go-to',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M2.5 8h8M7.5 4.5 11 8l-3.5 3.5M13.5 3v10"/></g>`
);
export const logIcon = icon(
  'log',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M2.5 4h11M2.5 8h11M2.5 12h6"/></g>`
);
export const retryIcon = icon(
  'retry',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M13 8a5 5 0 1 1-1.6-3.7M13 2v3.2H9.8"/></g>`
);
export const retryElsewhereIcon = icon(
  'retry-elsewhere',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M7 3.5H3v9h9V9M9.5 2.5h4v4M13 3 7.5 8.5"/></g>`
);
export const stopIcon = icon(
  'stop',
  '<g class="jp-icon3" fill="#616161"><rect x="3.5" y="3.5" width="9" height="9" rx="1"/></g>'
);
export const attachIcon = icon(
  'attach',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M1.8 3h12.4v10H1.8zM4.5 6l2 2-2 2M8.5 10h3"/></g>`
);
export const openIcon = icon(
  'open',
  `<g class="jp-icon3" stroke="#616161" ${STROKE}><path d="M2 13.5V3M2 13.5h12M4.5 10l3-3 2.5 2L14 4.5"/></g>`
);

const SENT = `<path d="M8 13V3.5M4.5 7 8 3.5 11.5 7"/>`;
const FETCHED = `<path d="M8 3v9.5M4.5 9 8 12.5 11.5 9"/>`;

const STATES: Record<IJob['state'], LabIcon> = {
  NEW: icon('new', `<g class="lp-State-queued" ${STROKE}><circle cx="8" cy="8" r="5.6"/></g>`),
  QUEUED: icon(
    'queued',
    `<g class="lp-State-queued" ${STROKE}><circle cx="8" cy="8" r="5.6"/><path d="M8 5v3.2l2 1.3"/></g>`
  ),
  STAGING_IN: icon('staging-in', `<g class="lp-State-running" ${STROKE}>${SENT}</g>`),
  RUNNING: icon(
    'running',
    '<path class="lp-State-running jp-mod-filled" d="M4.5 2.9v10.2c0 .5.5.8.9.5l8-5.1c.4-.2.4-.8 0-1l-8-5.1c-.4-.3-.9 0-.9.5z"/>'
  ),
  STAGING_OUT: icon('staging-out', `<g class="lp-State-running" ${STROKE}>${FETCHED}</g>`),
  COMPLETED: icon(
    'completed',
    `<g class="lp-State-done" ${STROKE}><circle cx="8" cy="8" r="5.6"/><path d="M5.4 8.2 7.3 10l3.4-3.8"/></g>`
  ),
  FAILED: icon(
    'failed',
    `<g class="lp-State-failed" ${STROKE}><path d="M8 2.4 14.2 13H1.8zM8 6.6v2.8M8 11.3v.1"/></g>`
  ),
  CANCELLED: icon(
    'cancelled',
    `<g class="lp-State-stopped" ${STROKE}><circle cx="8" cy="8" r="5.6"/><path d="M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4"/></g>`
  )
};

/** How a state is drawn; its word always stands beside it. */
export function stateIcon(state: IJob['state']): LabIcon {
  return STATES[state] ?? STATES.NEW;
}
