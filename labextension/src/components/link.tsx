/**
 * The state of the link to a target, as an icon and a word, never a colour alone. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { LinkState } from '../protocol';

const ICONS: Record<LinkState, string> = {
  unknown: '○',
  connected: '●',
  reconnecting: '◐',
  lost: '✕'
};

export function linkWord(link: LinkState, trans: TranslationBundle): string {
  switch (link) {
    case 'connected':
      return trans.__('connected');
    case 'reconnecting':
      return trans.__('reconnecting');
    case 'lost':
      return trans.__('not reachable');
    default:
      return trans.__('not asked yet');
  }
}

interface IProps {
  link: LinkState;
  trans: TranslationBundle;
}

export function LinkMark({ link, trans }: IProps): JSX.Element {
  return (
    <span className="lp-Link" data-link={link}>
      <span aria-hidden="true">{ICONS[link] ?? ICONS.unknown}</span> {linkWord(link, trans)}
    </span>
  );
}
