import { Fresh } from '../fresh';

describe('Fresh', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('never asks twice at a time, and once more for all that happened meanwhile', async () => {
    const pending: ((text: string) => void)[] = [];
    const heard: unknown[] = [];
    const fresh = new Fresh<string>(
      () => new Promise(resolve => pending.push(resolve)),
      ({ value }) => heard.push(value)
    );
    fresh.want();
    fresh.want();
    fresh.want();
    expect(pending).toHaveLength(1);
    pending[0]('one');
    await jest.advanceTimersByTimeAsync(500);
    expect([heard, pending.length]).toEqual([['one'], 1]);
    await jest.advanceTimersByTimeAsync(600);
    expect(pending).toHaveLength(2);
    fresh.dispose();
    pending[1]('two');
    await jest.advanceTimersByTimeAsync(5000);
    expect(heard).toEqual(['one']);
  });

  it('waits the longer the longer an answer takes', async () => {
    let asked = 0;
    const fresh = new Fresh<void>(
      () => {
        asked += 1;
        return new Promise(resolve => window.setTimeout(resolve, 2000));
      },
      () => undefined
    );
    fresh.want();
    fresh.want();
    await jest.advanceTimersByTimeAsync(7900);
    expect(asked).toBe(1);
    await jest.advanceTimersByTimeAsync(200);
    expect(asked).toBe(2);
    fresh.dispose();
  });

  it('keeps the last answer when an attempt fails', async () => {
    const heard: unknown[] = [];
    let works = true;
    const fresh = new Fresh<string>(
      () => (works ? Promise.resolve('text') : Promise.reject(new Error('no'))),
      one => heard.push(one)
    );
    fresh.want();
    await jest.advanceTimersByTimeAsync(1500);
    works = false;
    fresh.want();
    await jest.advanceTimersByTimeAsync(0);
    expect(heard).toEqual([
      { value: 'text', error: undefined },
      { value: 'text', error: new Error('no') }
    ]);
    fresh.dispose();
  });
});
