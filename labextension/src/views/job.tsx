/**
 * One job in the main area: how it stands, its metric and its use of the host, its log, what it displayed and left. In the
 * browser.
 */
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { LineChart } from '../components/linechart';
import { LogView } from '../components/logview';
import { stateIcon } from '../icons';
import { isFinal } from '../jobs';
import type { IJob } from '../protocol';
import type { ILepton } from '../tokens';
import { leftOutWords, title } from '../words';
import { Artifacts } from './artifacts';
import { useFresh } from './fresh';
import { JobHead } from './jobhead';
import { inWords, LiveWidget, useJob, type ILook } from './live';
import { Log } from './log';
import { ResourceCharts } from './resources';

/** Seconds between two looks at the job's use of its host: as often as that is measured. */
const MEASURED = 5;

export interface IJobViewOptions {
  lepton: ILepton;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** The job's id. */
  job: string;
}

export class JobView extends LiveWidget {
  constructor(private readonly options: IJobViewOptions) {
    super(options.lepton);
    this.addClass('lp-root');
    this.addClass('lp-View');
  }

  get job(): string {
    return this.options.job;
  }

  /** Bring the log into sight and take the keyboard there. */
  showLog(): void {
    this.logWanted.emit();
  }

  protected look(): ILook {
    return { jobs: [this.job] };
  }

  protected override render(): JSX.Element {
    return <JobPage {...this.options} view={this} logWanted={this.logWanted} />;
  }

  private readonly logWanted = new Signal<this, void>(this);
}

/** The view as a widget of the main area; its id tells jobs apart. Its title follows the job. */
export function createJobView(options: IJobViewOptions): MainAreaWidget<JobView> {
  const { job: id, lepton, trans } = options;
  const widget = new MainAreaWidget({ content: new JobView(options) });
  widget.id = `lepton-job-${id}`;
  widget.title.closable = true;
  widget.toolbar.hide();
  const name = (): void => {
    const job = lepton.jobs.get(id);
    widget.title.label = job ? title(job, trans) : trans.__('job %1', id);
    widget.title.caption = trans.__('The job %1', widget.title.label);
    widget.title.icon = stateIcon(job?.state ?? 'NEW');
  };
  const changed = (_: unknown, ids: ReadonlySet<string>): void => {
    if (ids.has(id)) {
      name();
    }
  };
  name();
  lepton.jobs.changed.connect(changed);
  widget.disposed.connect(() => lepton.jobs.changed.disconnect(changed));
  return widget;
}

interface IPageProps extends IJobViewOptions {
  view: JobView;
  logWanted: Signal<JobView, void>;
}

function JobPage({ lepton, commands, trans, job: id, view, logWanted }: IPageProps): JSX.Element {
  const visible = useVisible(view);
  const known = useJob(lepton.jobs, id);
  const api = lepton.api;
  const detail = useFresh(
    React.useCallback(() => api.job(id), [api, id]),
    known?.state,
    visible
  );
  const job: IJob | undefined = known ?? detail.value;
  const running = job !== undefined && !isFinal(job);
  const seq = job?.seq;
  const log = useFresh(
    React.useMemo(() => {
      const source = new Log(api, id);
      return () => source.load();
    }, [api, id]),
    `${seq} ${job?.state}`,
    visible
  );
  const uses = useFresh(
    React.useCallback(() => api.history(id), [api, id]),
    `${useBeat(running && visible)} ${job?.state}`,
    visible
  );
  const artifacts = useFresh(
    React.useCallback(() => api.artifacts(id), [api, id]),
    `${seq} ${job?.state}`,
    visible
  );
  const logFrame = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const show = (): void => {
      logFrame.current?.scrollIntoView({ block: 'start' });
      logFrame.current?.querySelector<HTMLElement>('.lp-Log-scroll')?.focus();
    };
    logWanted.connect(show);
    return () => {
      logWanted.disconnect(show);
    };
  }, [logWanted]);

  // The list has but a few points of the curve of a finished job.
  const metric = ((running ? undefined : detail.value) ?? job)?.telemetry.metric;
  const lines = React.useMemo(
    () => (metric ? [{ name: metric.name, points: metric.points }] : []),
    [metric]
  );
  if (!job) {
    return (
      <p className="lp-View-empty" role="status">
        {detail.error ? inWords(detail.error) : trans.__('One moment…')}
      </p>
    );
  }
  const training = job.telemetry.training?.words;
  const words = uses.value?.words || job.telemetry.usage?.words;
  return (
    <div className="lp-View-page">
      <JobHead job={job} commands={commands} trans={trans} />
      {training && <p className="lp-View-words">{training}</p>}
      {words && <p className="lp-View-words">{words}</p>}
      <div className="lp-View-main">
        <div className="lp-View-charts">
          {metric && (
            <LineChart
              title={metric.name}
              lines={lines}
              kind="elapsed"
              note={leftOutWords(job, metric.points.length, trans)}
              trans={trans}
            />
          )}
          <ResourceCharts samples={uses.value?.samples ?? NONE} trans={trans} />
          {uses.error !== undefined && <p className="lp-said">{inWords(uses.error)}</p>}
        </div>
        <div ref={logFrame} className="lp-View-log">
          {log.error !== undefined && <p className="lp-said jp-mod-error">{inWords(log.error)}</p>}
          <LogView
            text={log.value ?? ''}
            href={api.logsUrl(id)}
            trans={trans}
            empty={
              running ? trans.__('Nothing was printed yet.') : trans.__('Nothing was printed.')
            }
          />
        </div>
      </div>
      <Artifacts
        job={id}
        list={artifacts.value?.artifacts ?? NONE}
        variables={artifacts.value?.variables ?? NONE}
        unlisted={artifacts.value?.unlisted}
        url={file => api.artifactUrl(id, file)}
        bring={file => api.bring(id, file)}
        trans={trans}
      />
      {detail.value?.code && (
        <details className="lp-View-code">
          <summary>{trans.__('The cell’s code')}</summary>
          <pre>{detail.value.code}</pre>
        </details>
      )}
    </div>
  );
}

const NONE: readonly never[] = [];

/** Whether the widget can be seen. */
function useVisible(view: JobView): boolean {
  return React.useSyncExternalStore(
    React.useCallback(
      changed => {
        const listen = (): void => changed();
        view.visibility.connect(listen);
        return () => {
          view.visibility.disconnect(listen);
        };
      },
      [view]
    ),
    () => view.isVisible
  );
}

/** A number that grows by one every few seconds while `beating`. */
function useBeat(beating: boolean): number {
  const [beats, setBeats] = React.useState(0);
  React.useEffect(() => {
    if (!beating) {
      return;
    }
    const timer = window.setInterval(() => setBeats(before => before + 1), MEASURED * 1000);
    return () => window.clearInterval(timer);
  }, [beating]);
  return beats;
}
