/**
 * The form that adds a target: the place is tried first, and added only when it works. In the browser.
 */
import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IFinding } from '../protocol';
import { ApiError } from '../request';
import type { ILepton } from '../tokens';
import { Findings } from './findings';

interface IFormProps {
  lepton: ILepton;
  trans: TranslationBundle;
  /** It has been added. */
  onAdded: (name: string) => void;
}

interface IFields {
  name: string;
  url: string;
  python: string;
  price: string;
  more: string;
}

// What one types is the same in all languages.
const EXAMPLE = 'idle_stop = 30m';
/** How the cure of an unknown host key names the key. */
const KEY = /--accept-host-key (SHA256:[\w+/=]+)/;
const EMPTY: IFields = { name: '', url: '', python: '', price: '', more: '' };

/** Ask for a new target in a dialog; resolves with its name, or null when none was added. */
export async function askForTarget(
  lepton: ILepton,
  trans: TranslationBundle
): Promise<string | null> {
  let added: string | null = null;
  const onAdded = (name: string): void => {
    added = name;
    dialog.reject();
  };
  const body = ReactWidget.create(<TargetForm lepton={lepton} trans={trans} onAdded={onAdded} />);
  const dialog = new Dialog({
    title: trans.__('Add a target'),
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Close') })],
    focusNodeSelector: 'input'
  });
  await dialog.launch();
  return added;
}

export function TargetForm({ lepton, trans, onAdded }: IFormProps): JSX.Element {
  const [fields, setFields] = React.useState(EMPTY);
  const [busy, setBusy] = React.useState(false);
  const [findings, setFindings] = React.useState<IFinding[]>([]);
  const [said, setSaid] = React.useState<{ message: string; hint: string } | null>(null);

  const submit = async (test: boolean, given = fields): Promise<void> => {
    const parsed = options(given);
    if (typeof parsed === 'string') {
      setSaid({
        message: trans.__('“%1” is not an option.', parsed),
        hint: trans.__('Write one a line: KEY = VALUE')
      });
      return;
    }
    setBusy(true);
    setSaid(null);
    setFindings([]);
    const name = given.name.trim();
    try {
      const answer = await lepton.api.addTarget({
        name,
        url: given.url.trim(),
        options: parsed,
        test
      });
      setFindings(answer.findings);
      if (answer.added) {
        onAdded(name);
      } else {
        setSaid({ message: trans.__('It was not added, since something is missing.'), hint: '' });
      }
    } catch (error) {
      setSaid({
        message: error instanceof Error ? error.message : String(error),
        hint: error instanceof ApiError ? error.hint : ''
      });
    }
    setBusy(false);
  };

  const presented = findings.map(({ cure }) => KEY.exec(cure)?.[1]).find(Boolean);
  /** The reader has compared the fingerprint: from now on this key is the host's. */
  const accept = (): void => {
    const lines = fields.more
      .split('\n')
      .filter(line => line.trim() && !/^accept.host.key/.test(line));
    const given = { ...fields, more: [...lines, `accept_host_key = ${presented}`].join('\n') };
    setFields(given);
    void submit(true, given);
  };

  const field = (
    key: keyof IFields,
    label: string,
    placeholder: string,
    required = false
  ): JSX.Element => (
    <label className="lp-Form-field">
      <span>{label}</span>
      <input
        className="jp-mod-styled"
        name={key}
        value={fields[key]}
        placeholder={placeholder}
        required={required}
        spellCheck={false}
        autoComplete="off"
        onChange={event => setFields({ ...fields, [key]: event.target.value })}
      />
    </label>
  );

  return (
    <form
      className="lp-root lp-Form"
      // A dialog takes Enter for its own button otherwise.
      onKeyDown={event => event.key === 'Enter' && event.stopPropagation()}
      onSubmit={event => {
        event.preventDefault();
        void submit(true);
      }}
    >
      <div className="lp-Form-row">
        {field('name', trans.__('Name'), 'gpu1', true)}
        {field('url', trans.__('Address'), 'ssh://user@host:22', true)}
      </div>
      <div className="lp-Form-row">
        {field('price', trans.__('Price per hour'), '0')}
        {field('python', trans.__('Python there'), 'auto')}
      </div>
      <label className="lp-Form-field">
        <span>{trans.__('More options, one a line')}</span>
        <textarea
          className="jp-mod-styled"
          name="more"
          rows={2}
          value={fields.more}
          placeholder={EXAMPLE}
          spellCheck={false}
          onChange={event => setFields({ ...fields, more: event.target.value })}
        />
      </label>
      <div className="lp-Form-result" role="status">
        {busy && <p>{trans.__('Trying to reach it; this can take a minute…')}</p>}
        {said && (
          <p className="lp-Form-error">
            {said.message} {said.hint}
          </p>
        )}
        {findings.length > 0 && <Findings findings={findings} trans={trans} />}
      </div>
      <div className="lp-Form-buttons">
        {presented && (
          <button type="button" className="jp-mod-styled" disabled={busy} onClick={accept}>
            {trans.__('The fingerprint is right: accept it')}
          </button>
        )}
        {findings.length > 0 && (
          <button
            type="button"
            className="jp-mod-styled"
            disabled={busy}
            onClick={() => void submit(false)}
          >
            {trans.__('Add it nevertheless')}
          </button>
        )}
        <button type="submit" className="jp-mod-styled jp-mod-accept" disabled={busy}>
          {trans.__('Test and add')}
        </button>
      </div>
    </form>
  );
}

/** The options that the fields say, or the first line that says none. */
export function options(fields: IFields): Record<string, string> | string {
  const found: Record<string, string> = {};
  if (fields.python.trim()) {
    found.python = fields.python.trim();
  }
  if (fields.price.trim()) {
    found.price_per_hour = fields.price.trim();
  }
  for (const line of fields.more.split('\n').filter(line => line.trim())) {
    const at = line.indexOf('=');
    const key = line.slice(0, at).trim().replace(/-/g, '_');
    if (at < 1 || !/^\w+$/.test(key)) {
      return line.trim();
    }
    found[key] = line.slice(at + 1).trim();
  }
  return found;
}
