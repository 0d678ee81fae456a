/**
 * The server's REST interface: a method per verb. Whatever fails rejects with an `ApiError` that says what to do. In the
 * browser.
 */
import { URLExt } from '@jupyterlab/coreutils';
import type { IOutput } from '@jupyterlab/nbformat';
import { ServerConnection } from '@jupyterlab/services';

import type { IArtifacts, IFinding, IHistory, IJob, IJobDetail, ITarget } from './protocol';

/** The server said no, or could not be asked (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** What to do next, or empty. */
    readonly hint: string
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export interface IJobQuery {
  notebook?: string;
  target?: string;
  state?: string;
  limit?: number;
}

export interface INewTarget {
  name: string;
  url: string;
  options: Record<string, string | number | boolean>;
  /** Try it first; it is added only when it works. */
  test: boolean;
}

/** A log from byte `after` on. */
export interface ILogPart {
  data: Uint8Array;
  /** 0 when what was there before is not so any more. */
  after: number;
  /** How many bytes of the whole log are complete lines, and their digest. */
  settled: number;
  digest: string;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

export class Api {
  constructor(readonly settings: ServerConnection.ISettings) {}

  /** The address of `parts` below our own, each part escaped. */
  url(...parts: string[]): string {
    return URLExt.join(this.settings.baseUrl, 'lepton/api', ...parts.map(encodeURIComponent));
  }

  jobs(query: IJobQuery = {}): Promise<{ jobs: IJob[]; total: number }> {
    return this.get(this.url('jobs') + URLExt.objectToQueryString({ ...query }));
  }

  job(id: string): Promise<IJobDetail> {
    return this.get(this.url('jobs', id));
  }

  outputs(id: string): Promise<{ outputs: IOutput[]; seq: number; state: string }> {
    return this.get(this.url('jobs', id, 'outputs'));
  }

  /**
   * The job's text outputs as a terminal would get them, in UTF-8: what is new for somebody who has `after` bytes of this
   * digest, both as an earlier answer said.
   */
  async logs(id: string, after = 0, digest = ''): Promise<ILogPart> {
    const query = after ? URLExt.objectToQueryString({ after, digest }) : '';
    const response = await this.fetch(this.url('jobs', id, 'logs') + query);
    const said = (name: string): string => response.headers.get(`X-Lepton-${name}`) ?? '';
    return {
      data: new Uint8Array(await response.arrayBuffer()),
      after: Number(said('After')),
      settled: Number(said('Settled')),
      digest: said('Digest')
    };
  }

  /** Where a browser downloads the log. */
  logsUrl(id: string): string {
    return this.url('jobs', id, 'logs') + '?download=1';
  }

  history(id: string): Promise<IHistory> {
    return this.get(this.url('jobs', id, 'history'));
  }

  artifacts(id: string): Promise<IArtifacts> {
    return this.get(this.url('jobs', id, 'artifacts'));
  }

  /** Where a browser downloads one of them. */
  artifactUrl(id: string, file: string): string {
    return this.url('jobs', id, 'artifacts', file);
  }

  /** Have the server bring a file that the job left on its host, so that its download begins at once. */
  async bring(id: string, file: string): Promise<void> {
    await this.post(this.artifactUrl(id, file));
  }

  cancel(id: string): Promise<{ words: string }> {
    return this.post(this.url('jobs', id, 'cancel'));
  }

  /** Run it once more, on another target if one is named; answers the new job's id. */
  retry(id: string, target?: string): Promise<{ id: string }> {
    return this.post(this.url('jobs', id, 'retry'), target ? { target } : {});
  }

  /** Put the job's outputs into its notebook now. */
  write(id: string): Promise<Record<string, unknown>> {
    return this.post(this.url('jobs', id, 'write'));
  }

  targets(): Promise<{ targets: ITarget[]; default: string }> {
    return this.get(this.url('targets'));
  }

  addTarget(target: INewTarget): Promise<{ findings: IFinding[]; added: boolean }> {
    return this.post(this.url('targets'), target);
  }

  testTarget(name: string): Promise<{ findings: IFinding[] }> {
    return this.post(this.url('targets', name, 'test'));
  }

  async removeTarget(name: string): Promise<void> {
    await this.fetch(this.url('targets', name), { method: 'DELETE' });
  }

  async setDefaultTarget(name: string): Promise<void> {
    const init = { method: 'PUT', body: JSON.stringify({ name }), headers: JSON_TYPE };
    await this.fetch(this.url('targets', 'default'), init);
  }

  private async get<T>(url: string): Promise<T> {
    return (await this.fetch(url)).json() as Promise<T>;
  }

  private async post<T>(url: string, body: object = {}): Promise<T> {
    const init = { method: 'POST', body: JSON.stringify(body), headers: JSON_TYPE };
    return (await this.fetch(url, init)).json() as Promise<T>;
  }

  private async fetch(url: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch (error) {
      throw new ApiError(0, error instanceof Error ? error.message : String(error), '');
    }
    if (!response.ok) {
      const body: unknown = await response.json().catch(() => null);
      const { message, hint } = (body ?? {}) as { message?: unknown; hint?: unknown };
      throw new ApiError(
        response.status,
        typeof message === 'string' && message
          ? message
          : `${response.status} ${response.statusText}`,
        typeof hint === 'string' ? hint : ''
      );
    }
    return response;
  }
}
