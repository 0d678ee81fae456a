import type { Api, ILogPart } from '../../request';
import { Log } from '../log';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('Log', () => {
  it('asks for what is new, and puts it behind what is there', async () => {
    const parts: ILogPart[] = [
      { data: bytes('ünï\n 5 %'), after: 0, settled: 6, digest: 'a' },
      { data: bytes(' 10 %\nnext\n…'), after: 6, settled: 17, digest: 'b' },
      { data: bytes('…'), after: 17, settled: 17, digest: 'b' },
      { data: bytes('cleared\n'), after: 0, settled: 8, digest: 'c' },
      { data: bytes('more'), after: 8, settled: 8, digest: 'c' }
    ];
    const asked: unknown[] = [];
    const logs: Api['logs'] = (_, after, digest) => {
      asked.push([after, digest]);
      return Promise.resolve(parts[asked.length - 1]);
    };
    const log = new Log({ logs } as Api, 'j');
    const read: string[] = [];
    for (let n = 0; n < parts.length; n++) {
      read.push(await log.load());
    }
    expect(read).toEqual([
      'ünï\n 5 %',
      'ünï\n 10 %\nnext\n…',
      'ünï\n 10 %\nnext\n…',
      'cleared\n',
      'cleared\nmore'
    ]);
    expect(asked).toEqual([
      [0, ''],
      [6, 'a'],
      [17, 'b'],
      [17, 'b'],
      [8, 'c']
    ]);
  });
});
