import { JobsModel } from '../jobs';
import { Stream } from '../stream';
import { job } from './jobs';
import { FakeSocket, settings } from './socket';

let jobs: JobsModel;
let stream: Stream;
let status = 0;
let hidden = false;

/** Let the promises of a refused connection settle. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) {
    await Promise.resolve();
  }
};

function see(visible: boolean): void {
  hidden = !visible;
  document.dispatchEvent(new Event('visibilitychange'));
}

beforeEach(() => {
  jest.useFakeTimers();
  jest.spyOn(Math, 'random').mockReturnValue(0.5);
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  hidden = false;
  status = 0;
  jobs = new JobsModel();
  stream = new Stream(settings(), jobs, () => Promise.resolve(status));
});

afterEach(() => {
  stream.dispose();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

describe('the first connection', () => {
  it('goes below the base URL, with the token where cookies do not reach', () => {
    expect(FakeSocket.last.url).toBe('ws://localhost/user/ann/lepton/api/stream?token=s3cret');
  });

  it('asks for a snapshot, and says that nobody looks', () => {
    FakeSocket.last.accept();
    expect(stream.status).toBe('live');
    expect(FakeSocket.last.said).toEqual([
      { type: 'hello', after: null, visible: false, client: stream.client }
    ]);
  });
});

describe('a cut', () => {
  beforeEach(() => {
    FakeSocket.last.accept();
    FakeSocket.last.say({
      ...{ type: 'jobs', after: 0, number: 7, more: false, reset: true },
      jobs: [job(1), job(2)]
    });
  });

  it('is mended, and the stream goes on after the last number', async () => {
    FakeSocket.last.say({ type: 'change', number: 9, jobs: [job(2, { state: 'COMPLETED' })] });
    FakeSocket.last.cut();
    expect(stream.status).toBe('waiting');
    await settle();
    jest.advanceTimersByTime(1000);
    expect(FakeSocket.made).toHaveLength(2);
    FakeSocket.last.accept();
    expect(FakeSocket.last.said[0]).toMatchObject({ type: 'hello', after: 9 });
    expect(jobs.list.map(({ id }) => id)).toEqual(['job2', 'job1']);
  });

  it('is tried ever more slowly, at most every 30 s', async () => {
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      FakeSocket.last.cut();
      await settle();
      const made = FakeSocket.made.length;
      let seconds = 0;
      while (FakeSocket.made.length === made) {
        jest.advanceTimersByTime(1000);
        seconds += 1;
      }
      waits.push(seconds);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 30, 30, 30]);
  });

  it('is tried at once when the network is back, or the reader', async () => {
    FakeSocket.last.cut();
    await settle();
    window.dispatchEvent(new Event('online'));
    expect(FakeSocket.made).toHaveLength(2);
    FakeSocket.last.cut();
    await settle();
    see(false);
    see(true);
    expect(FakeSocket.made).toHaveLength(3);
  });

  it('is noticed after a sleep, though no packet said so', () => {
    jest.setSystemTime(Date.now() + 60_000);
    jest.advanceTimersByTime(5000);
    expect(FakeSocket.made).toHaveLength(2);
    expect(FakeSocket.made[0].readyState).toBe(3);
  });
});

describe('a server without our extension', () => {
  it.each([
    [404, 'missing'],
    [403, 'refused'],
    [500, 'waiting'],
    [0, 'waiting']
  ])('that answers %i is called %s', async (answer, expected) => {
    status = answer;
    FakeSocket.last.cut();
    await settle();
    expect(stream.status).toBe(expected);
  });

  it('is not asked again until one says so', async () => {
    status = 404;
    FakeSocket.last.cut();
    await settle();
    jest.advanceTimersByTime(600_000);
    expect(FakeSocket.made).toHaveLength(1);
    stream.retry();
    expect(FakeSocket.made).toHaveLength(2);
  });
});

describe('what is on screen', () => {
  beforeEach(() => FakeSocket.last.accept());

  it('is said when it changes, and only then', () => {
    const first = stream.show();
    const second = stream.show();
    first.dispose();
    second.dispose();
    const visible = FakeSocket.last.said.filter(({ type }) => type === 'visible');
    expect(visible).toEqual([
      { type: 'visible', visible: true, after: null },
      { type: 'visible', visible: false, after: null }
    ]);
  });

  it('is nothing while the page is hidden', () => {
    stream.show();
    const look = stream.look({ targets: ['gpu1'], jobs: ['job1'] });
    see(false);
    see(true);
    look.dispose();
    expect(FakeSocket.last.said.slice(1)).toEqual([
      { type: 'visible', visible: true, after: null },
      { type: 'look', targets: ['gpu1'], jobs: ['job1'] },
      { type: 'visible', visible: false, after: null },
      { type: 'look', targets: [], jobs: [] },
      { type: 'visible', visible: true, after: null },
      { type: 'look', targets: ['gpu1'], jobs: ['job1'] },
      { type: 'look', targets: [], jobs: [] }
    ]);
  });

  it('is said again to a new connection', async () => {
    stream.show();
    stream.look({ targets: ['gpu1'] });
    FakeSocket.last.cut();
    await settle();
    jest.advanceTimersByTime(1000);
    FakeSocket.last.accept();
    expect(FakeSocket.last.said).toEqual([
      { type: 'hello', after: null, visible: true, client: stream.client },
      { type: 'look', targets: ['gpu1'], jobs: [] }
    ]);
  });
});

it('passes each message on once the models have it', () => {
  const numbers: (number | null)[] = [];
  stream.messages.connect(() => numbers.push(jobs.number));
  FakeSocket.last.accept();
  FakeSocket.last.say({ type: 'jobs', after: 0, number: 3, jobs: [], more: false, reset: true });
  expect(numbers).toEqual([3]);
});

it('sends nothing while it is not connected', () => {
  expect(stream.send({ type: 'notebooks', open: [] })).toBe(false);
});
