/**
 * What a job displayed and what it left on its host, as files to download; pictures are shown. Everything else stays closed:
 * it came from a host. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { bytes } from '../components/format';
import type { IArtifact, IVariable } from '../protocol';
import { inWords } from './live';

/** Kinds that a browser draws and never runs. */
const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);
/** So many files that a job left are shown, and so many variables. */
const MOST = 200;

interface IFiles {
  /** Where a browser downloads the file of this id. */
  url: (id: string) => string;
  /** Has the server bring it from its host first; rejects with words for the person. */
  bring: (id: string) => Promise<void>;
  trans: TranslationBundle;
}

interface IProps extends IFiles {
  /** The job's id. */
  job: string;
  list: readonly IArtifact[];
  variables: readonly IVariable[];
  /** How many more there are than in `list` and `variables`. */
  unlisted?: number;
}

export function Artifacts({
  job,
  list,
  variables,
  unlisted = 0,
  trans,
  ...files
}: IProps): JSX.Element | null {
  if (!list.length && !variables.length) {
    return null;
  }
  const displayed = list.filter(({ kind }) => kind === 'output');
  const left = list.filter(({ kind }) => kind === 'file');
  const more = Math.max(0, left.length - MOST) + Math.max(0, variables.length - MOST) + unlisted;
  const fetch = `%lepton_fetch ${job}`;
  return (
    <section className="lp-Artifacts" aria-label={trans.__('Outputs, files and variables')}>
      <h2>{trans.__('Outputs, files and variables')}</h2>
      {displayed.length > 0 && (
        <ul>
          {displayed.map(({ id, name, mime, size }) => (
            <li key={id}>
              <a href={files.url(id)} download={name}>
                {PICTURES.has(mime) && <img src={files.url(id)} alt="" loading="lazy" />}
                <span>{name}</span>
              </a>
              <span className="lp-Artifacts-kind">
                {mime}, {bytes(size)}
              </span>
            </li>
          ))}
        </ul>
      )}
      {left.length > 0 && (
        <ul className="lp-mod-lines" aria-label={trans.__('Files on its host')}>
          {left.slice(0, MOST).map(file => (
            <LeftFile key={file.id} file={file} trans={trans} {...files} />
          ))}
        </ul>
      )}
      {variables.length > 0 && (
        <ul className="lp-mod-lines" aria-label={trans.__('Variables')}>
          {variables.slice(0, MOST).map(({ name, words, size }) => (
            <li key={name}>
              <code>{name}</code>
              <span className="lp-Artifacts-kind">
                {size === null ? words : `${words}, ${bytes(size)}`}
              </span>
            </li>
          ))}
        </ul>
      )}
      {variables.length > 0 && (
        <p className="lp-said">{trans.__('%1 brings the variables into a notebook.', fetch)}</p>
      )}
      {more > 0 && <p className="lp-said">{trans.__('%1 more; %2 brings all.', more, fetch)}</p>}
    </section>
  );
}

function LeftFile({ file, url, bring, trans }: IFiles & { file: IArtifact }): JSX.Element {
  const [busy, setBusy] = React.useState(false);
  const [said, setSaid] = React.useState('');
  const download = async (): Promise<void> => {
    setBusy(true);
    setSaid(trans.__('On its way from its host…'));
    try {
      await bring(file.id);
      setSaid('');
      save(url(file.id));
    } catch (error) {
      setSaid(inWords(error));
    }
    setBusy(false);
  };
  return (
    <li>
      {/* Not disabled while it is busy: it would lose the keyboard. */}
      <button
        className="lp-button"
        aria-label={trans.__('Download %1', file.name)}
        aria-disabled={busy}
        onClick={() => busy || void download()}
      >
        {trans.__('Download')}
      </button>
      <span>{file.name}</span>
      <span className="lp-Artifacts-kind">
        {bytes(file.size)}
        {file.url && ` · ${file.url}`}
      </span>
      <span className={busy ? 'lp-said' : 'lp-said jp-mod-error'} role="status">
        {said}
      </span>
    </li>
  );
}

/** Let the browser save what is at `url`, under the name that the server gives it. */
export function save(url: string): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = '';
  link.click();
}
