/**
 * The section of compressed models: how large, fast and good each was before and is now, and its files. It is there from
 * the first such model on. In the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Ago } from '../components/clock';
import { bytes, figure, isNumber } from '../components/format';
import { MODELS } from '../ids';
import type { JobsModel } from '../jobs';
import type { IJob, IModel } from '../protocol';
import type { ILepton } from '../tokens';
import { save } from '../views/artifacts';
import { inWords } from '../views/live';

export interface IModelsPanelOptions {
  lepton: ILepton;
  trans: TranslationBundle;
  /** Show a job in the main area. */
  open: (job: string) => void;
}

export class ModelsPanel extends ReactWidget {
  constructor(private readonly options: IModelsPanelOptions) {
    super();
    this.id = MODELS;
    this.addClass('lp-root');
    this.addClass('lp-Models');
  }

  protected override render(): JSX.Element {
    return <ModelList {...this.options} />;
  }
}

/** Call `found` once, as soon as any job has made a model. */
export function whenModels(jobs: JobsModel, found: () => void): void {
  const look = (): void => {
    if (jobs.list.some(({ telemetry }) => telemetry.models?.length)) {
      jobs.changed.disconnect(look);
      found();
    }
  };
  jobs.changed.connect(look);
  look();
}

export function ModelList({ lepton, trans, open }: IModelsPanelOptions): JSX.Element {
  const { api, jobs } = lepton;
  const [, setVersion] = React.useState(0);
  React.useEffect(() => {
    const onChanged = (_: JobsModel, ids: ReadonlySet<string>): void => {
      if ([...ids].some(id => !id || jobs.get(id)?.telemetry.models)) {
        setVersion(last => last + 1);
      }
    };
    jobs.changed.connect(onChanged);
    return () => void jobs.changed.disconnect(onChanged);
  }, [jobs]);
  const found = jobs.list.flatMap(job =>
    (job.telemetry.models ?? []).map(model => ({ job, model }))
  );
  return (
    <ul className="lp-Models-list" aria-label={trans.__('Compressed models')}>
      {found.map(({ job, model }) => (
        <li key={`${job.id} ${model.name}`} className="lp-Model">
          <div className="lp-Model-head">
            <button
              className="lp-Model-name"
              title={trans.__('Show the job that made %1', model.name)}
              onClick={() => open(job.id)}
            >
              {model.name}
            </button>
            <span className="lp-Model-kind">
              {model.kind} · {job.target} · <Ago time={job.ended ?? job.created} trans={trans} />
            </span>
          </div>
          <Figures model={model} trans={trans} />
          <div className="lp-Model-steps">{model.steps.join(' → ')}</div>
          <Files job={job} model={model} api={api} trans={trans} />
        </li>
      ))}
    </ul>
  );
}

/** Size, speed and metric, before and after; nothing for what was not measured. */
function Figures({ model, trans }: { model: IModel; trans: TranslationBundle }): JSX.Element {
  const { before, after } = model;
  const rows = [
    { what: trans.__('on disk'), was: before.bytes, is: after.bytes, words: bytes, times: true },
    { what: trans.__('zipped'), was: before.zipped, is: after.zipped, words: bytes, times: true },
    {
      what: trans.__('in memory'),
      was: before.memory,
      is: after.memory,
      words: bytes,
      times: true
    },
    { what: trans.__('one answer'), was: before.ms, is: after.ms, words: inMs, times: true },
    { what: model.judged, was: before.metric, is: after.metric, words: figure, times: false }
  ];
  return (
    <table className="lp-Model-figures">
      <thead className="lp-hidden">
        <tr>
          <th scope="col">{trans.__('What')}</th>
          <th scope="col">{trans.__('Before')}</th>
          <th scope="col">{trans.__('After')}</th>
          <th scope="col">{trans.__('Ratio')}</th>
        </tr>
      </thead>
      <tbody>
        {rows
          .filter(({ is }) => isNumber(is))
          .map(({ what, was, is, words, times }) => (
            <tr key={what}>
              <th scope="row">{what}</th>
              <td>{words(was)}</td>
              <td>{words(is)}</td>
              <td>{times && isNumber(was) && is ? ratio(was / is, trans) : ''}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}

interface IFilesProps {
  job: IJob;
  model: IModel;
  api: ILepton['api'];
  trans: TranslationBundle;
}

/** Files lie on the job's host; what is asked for comes here first. */
function Files({ job, model, api, trans }: IFilesProps): JSX.Element {
  const [busy, setBusy] = React.useState(false);
  const [said, setSaid] = React.useState('');
  const download = async (name: string): Promise<void> => {
    setBusy(true);
    setSaid(trans.__('On its way from its host…'));
    try {
      const { artifacts } = await api.artifacts(job.id);
      const file = artifacts.find(each => each.kind === 'file' && each.name === name);
      if (!file) {
        throw new Error(trans.__('The job has no file %1 any more.', name));
      }
      await api.bring(job.id, file.id);
      setSaid('');
      save(api.artifactUrl(job.id, file.id));
    } catch (error) {
      setSaid(inWords(error));
    }
    setBusy(false);
  };
  return (
    <div className="lp-Model-files">
      {model.files.map(({ name, size }) => (
        // Not disabled while it is busy: it would lose the keyboard.
        <button
          key={name}
          className="lp-button"
          aria-label={trans.__('Download %1', name)}
          aria-disabled={busy}
          onClick={() => busy || void download(name)}
        >
          {name} <span className="lp-Model-kind">{bytes(size)}</span>
        </button>
      ))}
      <span className={busy ? 'lp-said' : 'lp-said jp-mod-error'} role="status">
        {said}
      </span>
    </div>
  );
}

/** "19.8×"; what has become worse says so. */
function ratio(times: number, trans: TranslationBundle): string {
  const words = `${times.toFixed(times < 9.95 ? 1 : 0)}×`;
  return times < 0.995 ? trans.__('%1, worse', words) : words;
}

function inMs(value: number | null): string {
  return isNumber(value) ? `${figure(value)} ms` : figure(value);
}
