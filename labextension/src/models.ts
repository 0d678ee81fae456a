/**
 * Builds what all the other plugins share: the stream and the models that it feeds. In the browser.
 */
import type { ServerConnection } from '@jupyterlab/services';

import { JobsModel } from './jobs';
import type { Message } from './protocol';
import { Api, ApiError } from './request';
import { Stream } from './stream';
import { TargetsModel } from './targets';
import type { ILepton } from './tokens';

export function createLepton(settings: ServerConnection.ISettings): ILepton {
  const api = new Api(settings);
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
  const probe = (): Promise<number> =>
    api.jobs({ limit: 1 }).then(
      () => 200,
      (error: unknown) => (error instanceof ApiError ? error.status : 0)
    );
  return { api, jobs, targets, stream: new Stream(settings, receiver, probe) };
}
