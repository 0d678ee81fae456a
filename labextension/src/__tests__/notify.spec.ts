import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import { Notifier } from '../notify';
import type { IJob } from '../protocol';
import type { ILepton } from '../tokens';
import { job } from './jobs';

it('tells of a job that took its time, or waited for it, and of no short one', () => {
  jest.useFakeTimers();
  const jobs = { ended: new Signal<object, IJob>({}) };
  const chosen = { notifications: 'all' as const, notifyAfter: 10 };
  new Notifier(
    { jobs } as unknown as ILepton,
    nullTranslator.load('lepton_jupyter'),
    () => undefined,
    chosen
  );
  const began = 1_000_000;
  const end = (number: number, started: number, ended: number): void =>
    jobs.ended.emit(
      job(number, {
        state: 'FAILED',
        created: began,
        started: began + started,
        ended: began + ended
      })
    );
  end(1, 0, 2);
  end(2, 0, 30);
  end(3, 59, 60);
  chosen.notifyAfter = 0;
  end(4, 0, 2);
  jest.runAllTimers();
  expect(Notification.manager.notifications.map(({ message }) => message)).toEqual(
    [4, 3, 2].map(number => `“cell ${number}” failed on gpu1`)
  );
});
