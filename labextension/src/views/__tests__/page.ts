/** Our models, stream and REST interface as a page has them, before a server that the test is. */
import { ServerConnection } from '@jupyterlab/services';

import { JobsModel } from '../../jobs';
import type { IArtifact, IJob, ISample, ITarget, Message } from '../../protocol';
import { Api } from '../../request';
import { Stream } from '../../stream';
import { TargetsModel } from '../../targets';
import type { ILepton } from '../../tokens';

/** What a server answers: an object as JSON, a text as text, a number as that status. */
export type Answers = { [request: string]: () => object | string | number };

export interface IPage {
  lepton: ILepton;
  /** The server says this over the socket. */
  hear: (message: Message) => void;
  /** What the page said over the socket. */
  said: { type: string; [key: string]: unknown }[];
  /** The requests that it made: "GET jobs/1/logs". */
  asked: string[];
  dispose: () => void;
}

export function page(answers: Answers = {}): IPage {
  const said: IPage['said'] = [];
  const asked: string[] = [];
  const sockets: TestSocket[] = [];

  class TestSocket {
    readyState = 0;
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: string }) => void) | null = null;
    onclose: (() => void) | null = null;
    onerror: (() => void) | null = null;
    constructor() {
      sockets.push(this);
    }
    send(data: string): void {
      said.push(JSON.parse(data) as IPage['said'][0]);
    }
    close(): void {
      this.readyState = 3;
    }
  }

  const fetch = async (request: Request): Promise<Response> => {
    const path = new URL(request.url).pathname.replace('/lepton/api/', '');
    asked.push(`${request.method} ${path}`);
    const answer = answers[`${request.method} ${path}`]?.() ?? 404;
    if (typeof answer === 'number') {
      return new Response(JSON.stringify({ message: 'cannot', hint: 'Do this.' }), {
        status: answer
      });
    }
    return new Response(typeof answer === 'string' ? answer : JSON.stringify(answer));
  };
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://localhost/',
    wsUrl: 'ws://localhost/',
    fetch: fetch as typeof window.fetch,
    WebSocket: TestSocket as unknown as typeof WebSocket
  });
  const jobs = new JobsModel();
  const targets = new TargetsModel();
  const receiver = {
    get number() {
      return jobs.number;
    },
    receive: (message: Message) => {
      jobs.receive(message);
      targets.receive(message);
    }
  };
  const stream = new Stream(settings, receiver, () => Promise.resolve(200));
  sockets[0].readyState = 1;
  sockets[0].onopen?.();
  return {
    lepton: { stream, api: new Api(settings), jobs, targets },
    hear: message => {
      sockets[0].onmessage?.({ data: JSON.stringify(message) });
      jobs.flush();
      targets.flush();
    },
    said,
    asked,
    dispose: () => stream.dispose()
  };
}

const GB = 1024 ** 3;

export function sample(time: number, utils: (number | null)[] = []): ISample {
  return {
    time,
    host: 'gpu1',
    cpu: { count: 16, percent: 34 },
    memory: { used: 41 * GB, total: 256 * GB },
    disk: { path: '/home', used: 120 * GB, total: 500 * GB },
    load: 1.5,
    devices: utils.map((util, index) => ({
      kind: 'gpu',
      index,
      name: 'NVIDIA H100 80GB HBM3',
      util,
      memory_used: util === null ? null : 61 * GB,
      memory_total: util === null ? null : 80 * GB,
      temperature: util === null ? null : 71,
      power: util === null ? null : 640,
      processes: []
    })),
    kernel: null,
    queue: [],
    latency: null
  };
}

export function target(name: string, more: Partial<ITarget> = {}): ITarget {
  return {
    name,
    kind: 'ssh',
    where: `ann@${name}`,
    is_default: false,
    price_per_hour: 0,
    link: 'connected',
    words: '',
    latency: 0.018,
    sample: null,
    samples: [],
    kernels: 1,
    ...more
  };
}

export function job(id: string, more: Partial<IJob> = {}): IJob {
  return {
    id,
    state: 'RUNNING',
    name: `job ${id}`,
    notebook: '/home/ann/resnet.ipynb',
    path: 'resnet.ipynb',
    cell_id: 'c1',
    target: 'gpu1',
    kernel: 'resnet',
    created: 1000,
    started: 1001,
    ended: null,
    cause: '',
    seq: 1,
    telemetry: {},
    cost: null,
    written: {},
    watched: true,
    ...more
  };
}

/** A message with all jobs there are. */
export function snapshot(...jobs: IJob[]): Message {
  return { type: 'jobs', after: 0, number: 1, jobs, more: false, reset: true };
}

/** Let what was asked be answered. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    await new Promise(resolve => setTimeout(resolve, 0));
  }
}

/** What a job displayed. */
export const displayed = (name: string, mime: string): IArtifact => {
  return { id: name, name, kind: 'output', mime, size: 2048, url: '' };
};

/** A file that a job left. */
export const left = (id: string, name: string, url = ''): IArtifact => {
  return { id, name, kind: 'file', mime: 'application/octet-stream', size: 2048, url };
};
