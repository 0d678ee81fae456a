/**
 * The words that Jupyter Server and this page exchange, named as in Python. Types only; in the browser.
 */
import type { IMimeBundle, IOutput } from '@jupyterlab/nbformat';

export type JobState =
  | 'NEW'
  | 'QUEUED'
  | 'STAGING_IN'
  | 'RUNNING'
  | 'STAGING_OUT'
  | 'COMPLETED'
  | 'FAILED'
  | 'CANCELLED';

/** How far a job's work is, read from its outputs. */
export interface IProgress {
  /** From 0 to 1. */
  fraction: number;
  done: number | null;
  total: number | null;
  /** "epoch", "step", "it"… */
  unit: string;
  /** Seconds that remain. */
  eta: number | null;
  /** Epoch seconds. */
  time: number;
}

/** The job's main metric, and how it went. */
export interface IMetric {
  name: string;
  value: number;
  /** x: seconds after the job began. */
  points: [x: number, value: number][];
  /** How many values the points stand for. */
  count?: number;
  /** How many metrics the job has beside this one. */
  others?: number;
  /** Whether the job's record has the values of its metrics; else they are where it printed them. */
  recorded?: boolean;
}

/** How well a job used its machine. */
export interface IUsage {
  /** Mean per cent. */
  gpu: number | null;
  cpu: number | null;
  /** Peak bytes. */
  memory: number | null;
  gpu_memory: number | null;
  /** "GPU 23 % busy: the input pipeline is the limit", or empty. */
  words: string;
}

/** What a model was or is; null where it was not measured. */
export interface IModelFigures {
  /** On disk. */
  bytes: number | null;
  zipped: number | null;
  memory: number | null;
  metric: number | null;
  /** Milliseconds to the answer to one example. */
  ms: number | null;
}

/** A model that the job compressed. */
export interface IModel {
  name: string;
  /** Framework and class. */
  kind: string;
  steps: string[];
  /** What its metric is called. */
  judged: string;
  before: IModelFigures;
  after: IModelFigures;
  /** Among the job's artifacts, by these names. */
  files: { name: string; size: number | null }[];
}

export interface ITelemetry {
  progress?: IProgress;
  metric?: IMetric;
  usage?: IUsage;
  /** How the training goes, in one line. */
  training?: { words?: string };
  models?: IModel[];
}

/** Who put a job's outputs into its notebook. */
export interface IWritten {
  /** The last event that is in the notebook. */
  seq?: number;
  state?: 'written' | 'waiting' | 'gone' | 'failed' | '';
  how?: 'tab' | 'document' | 'file' | '';
  /** For people: "cell gone – open result". */
  words?: string;
  time?: number;
}

/** One run of one cell; null where nothing is known. Times are epoch seconds. */
export interface IJob {
  id: string;
  state: JobState;
  name: string;
  /** As the kernel knew it: an absolute path. */
  notebook: string | null;
  /** As the contents API knows it; null outside the server's root. */
  path: string | null;
  cell_id: string | null;
  target: string;
  kernel: string;
  created: number;
  started: number | null;
  ended: number | null;
  /** Why it failed, in one line; empty otherwise. */
  cause: string;
  seq: int;
  telemetry: ITelemetry;
  cost: number | null;
  written: IWritten;
  /** Somebody follows the job and keeps its record. */
  watched: boolean;
}

/** A job with what only its own page needs. */
export interface IJobDetail extends IJob {
  code: string;
}

/** A whole number. */
type int = number;

export interface IDeviceProcess {
  pid: int;
  user: string;
  name: string;
  memory: int | null;
  /** The job it belongs to, or empty. */
  job: string;
}

export interface IDevice {
  kind: 'gpu' | 'tpu';
  index: int;
  name: string;
  util: number | null;
  memory_used: int | null;
  memory_total: int | null;
  temperature: number | null;
  power: number | null;
  processes: IDeviceProcess[];
}

/** What a host was doing at one moment; null where it does not say. */
export interface ISample {
  time: number;
  host: string;
  cpu: { count: int; percent: number | null };
  memory: { used: int | null; total: int | null };
  disk: { path: string; used: int | null; total: int | null };
  load: number | null;
  devices: IDevice[];
  kernel: { cpu: number | null; memory: int | null; gpu_memory: int | null; processes: int } | null;
  queue: { job: string; name: string; state: JobState }[];
  latency: number | null;
}

/** [time, CPU %, [% of each device]…]: one point of a target's history. */
export type SampleRow = [time: number, cpu: number | null, devices: (number | null)[]];

export type LinkState = 'unknown' | 'connected' | 'reconnecting' | 'lost';

export interface ITarget {
  name: string;
  kind: string;
  /** "ann@gpu1", "this machine". */
  where: string;
  is_default: boolean;
  price_per_hour: number;
  link: LinkState;
  words: string;
  latency: number | null;
  sample: ISample | null;
  samples: SampleRow[];
  kernels: int;
}

/** One thing that was looked at when a target was tried. */
export interface IFinding {
  subject: string;
  ok: boolean;
  value: string;
  cure: string;
}

/** A file that a job displayed or left on its host. */
export interface IArtifact {
  /** What it is asked for by. */
  id: string;
  /** Of a file, whatever its host calls it. */
  name: string;
  kind: 'output' | 'file';
  mime: string;
  size: int;
  /** The bucket's address at which it is kept besides, or empty. */
  url: string;
}

/** A variable that a job left on its host. */
export interface IVariable {
  name: string;
  /** What it is; why it was not kept, where size is null. */
  words: string;
  size: int | null;
}

export interface IArtifacts {
  artifacts: readonly IArtifact[];
  variables: readonly IVariable[];
  /** How many more files and variables it left than are listed. */
  unlisted: number;
}

/** How a finished or running job used its host. */
export interface IHistory {
  samples: ISample[];
  words: string;
}

// What comes over the stream.

export interface IJobsMessage {
  type: 'jobs';
  /** The changes that this message holds: after … number. */
  after: int;
  number: int;
  jobs: IJob[];
  more: boolean;
  /** Forget what was known: a snapshot begins. */
  reset?: boolean;
}
export interface IChangeMessage {
  type: 'change';
  number: int;
  jobs: IJob[];
}
export interface ITargetsMessage {
  type: 'targets';
  targets: ITarget[];
}
/** On how many kernels of each target jobs run or wait; 0 on those that are not named. */
export interface IKernelsMessage {
  type: 'kernels';
  kernels: { [target: string]: int };
}
export interface ISampleMessage {
  type: 'sample';
  target: string;
  sample: ISample;
  latency: number | null;
}
export interface ILinkMessage {
  type: 'link';
  target: string;
  link: LinkState;
  words: string;
}
/** All that comes while nobody looks. */
export interface ISummary {
  running: int;
  queued: int;
  failed_since: int;
  eta: number | null;
  /** For people: "gpu-box 92 %"; empty when nothing is known. */
  busiest: string;
}
export interface ISummaryMessage extends ISummary {
  type: 'summary';
}
/** Put these outputs into that cell; with `probe`, only say whether it gets them from its kernel. */
export interface IWriteMessage {
  type: 'write';
  job: string;
  path: string;
  cell_id: string | null;
  outputs: IOutput[];
  seq: int;
  /** No more will come. */
  final: boolean;
  execution_count: int | null;
  probe: boolean;
  /** Nothing in it could run a script: the cell may keep its trust. */
  inert: boolean;
  /** The job's card as it stays in the notebook; null while its kernel may draw it. */
  card: IMimeBundle | null;
  /** When the job was made, and when this was sent, by the server's clock. */
  created: number;
  now: number;
}
/** The server itself wrote that file. */
export interface ISavedMessage {
  type: 'saved';
  path: string;
  hash: string | null;
}
/** Why the server has nothing to say; empty when it has again. */
export interface ITroubleMessage {
  type: 'trouble';
  message: string;
  hint: string;
}

export type Message =
  | IJobsMessage
  | IChangeMessage
  | ITargetsMessage
  | IKernelsMessage
  | ISampleMessage
  | ILinkMessage
  | ISummaryMessage
  | IWriteMessage
  | ISavedMessage
  | ITroubleMessage;

// What this page says.

export interface IOpenNotebook {
  path: string;
  dirty: boolean;
  hash: string | null;
  active: boolean;
  /** Its model is a real-time-collaboration document. */
  shared: boolean;
  /** Counts what may have cost its cells their kernel's messages: restarts, another kernel. */
  epoch: int;
}

/** The answer to `write`. */
export interface IWrote {
  /**
   * `written`: the outputs are in the cell; `live`: it gets them from its kernel; `idle`: it does not (a probe's answer);
   * `gone`: no such cell; `failed`; `closed`: the notebook is not open here any more.
   */
  state: 'written' | 'live' | 'idle' | 'gone' | 'failed' | 'closed';
  /** Why it is `gone`: the cell was run again since. */
  why?: 'again';
  /** The kernel's messages came without a cut since the cell was run. */
  whole?: boolean;
  /** It is in the file, whose `path` and `hash` are said then. Said again when that is true later. */
  saved?: boolean;
  path?: string;
  hash?: string | null;
}

export type Word =
  | { type: 'hello'; after: int | null; visible: boolean; client: string }
  | { type: 'visible'; visible: boolean; after: int | null }
  | { type: 'look'; targets: string[]; jobs: string[] }
  | { type: 'notebooks'; open: IOpenNotebook[] }
  | ({ type: 'wrote'; job: string; seq: int } & IWrote);
