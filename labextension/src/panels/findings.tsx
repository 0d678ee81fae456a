/**
 * What a test of a target found, and what to do about what is missing. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IFinding } from '../protocol';

interface IProps {
  findings: readonly IFinding[];
  trans: TranslationBundle;
  onClose?: () => void;
}

export function Findings({ findings, trans, onClose }: IProps): JSX.Element {
  return (
    <div className="lp-Findings" role="group" aria-label={trans.__('What the test found')}>
      <ul>
        {findings.map((finding, index) => (
          <li key={index} className={finding.ok ? 'jp-mod-ok' : 'jp-mod-missing'}>
            <span aria-hidden="true">{finding.ok ? '✔' : '⚠'}</span>
            <span className="lp-hidden">
              {finding.ok ? trans.__('fine') : trans.__('missing')}
            </span>{' '}
            <b>{finding.subject}</b> {finding.value}
            {!finding.ok && finding.cure && <div className="lp-Findings-cure">{finding.cure}</div>}
          </li>
        ))}
      </ul>
      {onClose && (
        <button className="lp-button" onClick={onClose}>
          {trans.__('Close')}
        </button>
      )}
    </div>
  );
}
