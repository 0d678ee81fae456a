import { act } from 'react';

import { AnsiLine, LONGEST } from '../log/ansi';
import { Lines } from '../log/lines';
import { MOST_MATCHES, Search, type IFound } from '../log/search';
import { plain, settled } from '../log/terminal';
import { scrollTo, windowOf } from '../log/window';
import { LogView } from '../logview';
import { click, press, render, trans, type, waitFor } from './render';

const ESC = '\u001b';
const tooLong = (missing: number): string => `${missing} more`;

describe('what a terminal leaves of a line', () => {
  it.each([
    ['plain text', 'plain text'],
    [' 10%|#    |\r 50%|###  |\r100%|#####|', '100%|#####|'],
    ['abcdef\rXY', 'XYcdef'],
    ['abc\b\bX', 'aXc'],
    ['line\r', 'line'],
    [`downloading 10%\r${ESC}[Kdone`, 'done'],
    [`downloading 10%\r${ESC}[2Kdone`, 'done'],
    [`long text\rok${ESC}[K`, 'ok'],
    [`abcd${ESC}[1KX`, '    X'],
    [`${ESC}]0;window title\u0007text`, 'text'],
    [`${ESC}]8;;http://x\u001b\\link${ESC}]8;;\u001b\\`, 'link'],
    [`${ESC}[?25lhidden cursor${ESC}[?25h`, 'hidden cursor'],
    [`up${ESC}[Aagain`, 'upagain'],
    [`broken${ESC}[31`, 'broken[31'],
    [`nul\u0000bell\u0007`, 'nulbell'],
    ['a\tb', 'a\tb'],
    ['日本語🙂\r中', '中本語🙂']
  ])('%j', (raw, text) => expect(plain(raw)).toBe(text));

  it('keeps the colours of what stays', () => {
    expect(settled(`${ESC}[31mred${ESC}[0m${ESC}[2J`)).toBe(`${ESC}[31mred${ESC}[0m`);
    const line = settled(`${ESC}[31mabc${ESC}[0m\r${ESC}[32mX`);
    const { host } = render(<AnsiLine line={line} tooLong={tooLong} />);
    expect(host.innerHTML).toBe(
      '<span class="lp-Ansi-green">X</span><span class="lp-Ansi-red">bc</span>'
    );
  });

  it('understands colours written with colons', () => {
    expect(settled(`${ESC}[38:2::1:2:3mx`)).toBe(`${ESC}[38;2;1;2;3mx`);
  });
});

describe('Lines', () => {
  it('reads growing text as if it had come at once', () => {
    const text = `one\ntwo\n\nthree ${ESC}[31mred\nstill red${ESC}[0m\n\nlast`;
    const whole = new Lines();
    whole.update(text);
    const all = Array.from({ length: whole.length }, (_, index) => whole.coloured(index));
    for (let cut = 0; cut <= text.length; cut++) {
      const lines = new Lines();
      lines.update(text.slice(0, cut));
      lines.update(text);
      expect(Array.from({ length: lines.length }, (_, index) => lines.coloured(index))).toEqual(
        all
      );
    }
    expect(all).toHaveLength(7);
    expect(all[4]).toBe(`${ESC}[31mstill red${ESC}[0m`);
  });

  it('counts no line after the last newline', () => {
    const lines = new Lines();
    lines.update('');
    expect(lines.length).toBe(0);
    lines.update('\n');
    expect(lines.length).toBe(1);
    lines.update('\na\n');
    expect([lines.length, lines.plain(1)]).toEqual([2, 'a']);
    lines.update('other');
    expect([lines.length, lines.plain(0)]).toEqual([1, 'other']);
  });

  it('does not remember colours without end', () => {
    const lines = new Lines();
    lines.update(`${ESC}[31mx\n`.repeat(5000));
    expect(lines.coloured(4999).length).toBeLessThan(300);
  });

  it('says from which line on it is another', () => {
    const lines = new Lines();
    expect(lines.update('a\nb\n')).toBe(0);
    expect(lines.update('a\nb\n')).toBe(2);
    expect(lines.update('a\nb\nc')).toBe(1);
    expect(lines.update('a\nX\nc')).toBe(0);
  });
});

describe('Search', () => {
  const found = async (text: string, wanted: string): Promise<IFound> => {
    const lines = new Lines();
    lines.update(text);
    return new Promise(resolve => {
      const search = new Search(lines, wanted, result => result.complete && resolve(result));
      void search;
    });
  };

  it('finds text under colours, in any case, and takes signs for what they are', async () => {
    const text = `Loss: 0.4 (best)\n${ESC}[31mlo${ESC}[32mSS${ESC}[0m\nnone`;
    expect((await found(text, 'loss')).matches).toEqual([
      { line: 0, start: 0, end: 4 },
      { line: 1, start: 0, end: 4 }
    ]);
    expect((await found(text, '(best)')).matches).toHaveLength(1);
    expect((await found(text, '.')).matches).toHaveLength(1);
    expect((await found(text, 'nowhere')).matches).toEqual([]);
  });

  it('stops counting at a limit', async () => {
    const { matches, complete } = await found('x'.repeat(MOST_MATCHES + 5), 'x');
    expect([matches.length, complete]).toEqual([MOST_MATCHES, true]);
  });

  it('goes on where text is added, and looks again where it changed', async () => {
    const lines = new Lines();
    lines.update('x\nx\nx');
    let last: IFound | null = null;
    const search = new Search(lines, 'x', result => (last = result));
    expect(last).toMatchObject({ matches: { length: 3 } });
    search.again(lines.update('x\nx\nxx\nx'));
    expect(last).toMatchObject({ matches: { length: 5 }, complete: true });
    search.again(lines.update('no'));
    expect(last).toEqual({ matches: [], complete: true });
  });

  it('does not keep the page from anything else', async () => {
    const lines = new Lines();
    lines.update('x y\n'.repeat(1_000_000));
    let complete = false;
    const search = new Search(lines, 'z', result => (complete = result.complete));
    expect(complete).toBe(false);
    search.dispose();
  });
});

describe('the lines in sight', () => {
  it('are the only ones that exist', () => {
    expect(windowOf(1000, 10, 5000, 100)).toEqual({
      first: 480,
      end: 530,
      top: 4800,
      height: 10000
    });
    expect(windowOf(3, 10, 0, 100)).toEqual({ first: 0, end: 3, top: 0, height: 30 });
  });

  it('reach from the first to the last where no element could be high enough', () => {
    const count = 5_000_000;
    const { height } = windowOf(count, 18, 0, 600);
    expect(height).toBeLessThan(17_000_000);
    const end = windowOf(count, 18, height - 600, 600);
    expect(end.end).toBe(count);
    expect(end.top + (end.end - end.first) * 18).toBeCloseTo(height);
    const middle = scrollTo(2_500_000, count, 18, 600);
    const seen = windowOf(count, 18, middle, 600);
    expect(seen.first).toBeLessThan(2_500_000);
    expect(seen.end).toBeGreaterThan(2_500_000);
  });
});

describe('AnsiLine', () => {
  it('makes text of whatever a host sends', () => {
    const evil = [
      '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">',
      `${ESC}[31m<img src=x onerror=alert(1)>${ESC}[0m`,
      `${ESC}[38;2;1;2;3m"><svg onload=alert(1)>`,
      `${ESC}[38;2;1);background:url(//evil);x:(;2;3mtext`,
      `${ESC}[38;5;999mtext`
    ];
    for (const raw of evil) {
      const { host } = render(<AnsiLine line={settled(raw)} tooLong={tooLong} />);
      expect([...host.querySelectorAll('*')].filter(element => element.tagName !== 'SPAN')).toEqual(
        []
      );
      for (const span of host.querySelectorAll('span')) {
        expect(span.getAttribute('style') ?? '').toMatch(
          /^((background-)?color: rgb\([0-9, ]+\);)?$/
        );
      }
      expect(host.textContent).toBe(plain(raw));
    }
    expect((window as { pwned?: number }).pwned).toBeUndefined();
  });

  it.each([
    [`${ESC}[1;4mx`, 'jp-mod-bold jp-mod-underline', ''],
    [`${ESC}[91mx`, 'lp-Ansi-bright-red', ''],
    [`${ESC}[41mx`, 'lp-Ansi-on-red', ''],
    [`${ESC}[7;31mx`, 'lp-Ansi-swapped lp-Ansi-on-red', ''],
    [`${ESC}[38;5;196mx`, '', 'rgb(255, 0, 0)'],
    [`${ESC}[38;5;244mx`, '', 'rgb(128, 128, 128)'],
    [`${ESC}[38;2;1;2;3mx`, '', 'rgb(1, 2, 3)']
  ])('shows %j', (line, className, color) => {
    const { one } = render(<AnsiLine line={line} tooLong={tooLong} />);
    expect(one('span').className).toBe(className);
    expect(one('span').style.color).toBe(color);
  });

  it('marks what was found, across colours', () => {
    const match = { line: 0, start: 1, end: 3 };
    const { host } = render(
      <AnsiLine line={`ab${ESC}[31mcd`} matches={[match]} current={match} tooLong={tooLong} />
    );
    expect(host.innerHTML).toBe(
      'a<mark class="jp-mod-current">b</mark><span class="lp-Ansi-red"><mark class="jp-mod-current">c</mark>d</span>'
    );
  });

  it('says what it does not show of a very long line', () => {
    const { host } = render(<AnsiLine line={'x'.repeat(LONGEST + 7)} tooLong={tooLong} />);
    expect(host.textContent).toBe('x'.repeat(LONGEST) + '7 more');
  });
});

describe('LogView', () => {
  const text = Array.from({ length: 300_000 }, (_, index) => `step ${index}\n`).join('');

  it('keeps few lines of very many', () => {
    const { host } = render(<LogView text={text} href="/log" trans={trans} />);
    expect(host.querySelectorAll('.lp-Log-line').length).toBeLessThan(100);
    expect(host.textContent).toContain('300,000 lines');
    expect(host.querySelector('a[download]')?.getAttribute('href')).toBe('/log');
  });

  it('finds text and goes from match to match', async () => {
    const { one, host } = render(<LogView text={text} href="/log" trans={trans} />);
    const field = one<HTMLInputElement>('input[type=search]');
    type(field, 'step 12345');
    await waitFor(() => one('[role=status]').textContent === '1 of 11');
    expect(one('[role=status]').textContent).toBe('1 of 11');
    expect(one('mark.jp-mod-current').parentElement?.textContent).toBe('step 12345');
    press(field, 'Enter');
    expect(one('[role=status]').textContent).toBe('2 of 11');
    expect(one('mark.jp-mod-current').parentElement?.textContent).toBe('step 123450');
    press(field, 'Enter', { shiftKey: true });
    press(field, 'Enter', { shiftKey: true });
    expect(one('[role=status]').textContent).toBe('11 of 11');
    press(field, 'Escape');
    expect(host.querySelector('mark')).toBeNull();
    type(field, 'nowhere');
    await waitFor(() => one('[role=status]').textContent !== 'searching…');
    expect(one('[role=status]').textContent).toBe('no match');
    expect(one<HTMLButtonElement>('button').disabled).toBe(true);
  });

  it('follows the tail until told otherwise', () => {
    const { one, again } = render(<LogView text="one\n" href="/log" trans={trans} />);
    const scroller = one('.lp-Log-scroll');
    let height = 1000;
    Object.defineProperty(scroller, 'scrollHeight', { get: () => height });
    again(<LogView text={'one\ntwo\n'} href="/log" trans={trans} />);
    expect(scroller.scrollTop).toBe(1000);
    click(one('.lp-Log-follow input'));
    height = 2000;
    again(<LogView text={'one\ntwo\nthree\n'} href="/log" trans={trans} />);
    expect(scroller.scrollTop).toBe(1000);
  });

  it('stops following when one scrolls up', () => {
    const { one } = render(<LogView text="one\n" href="/log" trans={trans} />);
    const scroller = one('.lp-Log-scroll');
    Object.defineProperty(scroller, 'scrollHeight', { value: 1000 });
    Object.defineProperty(scroller, 'clientHeight', { value: 100 });
    act(() => {
      scroller.scrollTop = 500;
      scroller.dispatchEvent(new Event('scroll'));
    });
    expect(one<HTMLInputElement>('.lp-Log-follow input').checked).toBe(false);
    act(() => {
      scroller.scrollTop = 900;
      scroller.dispatchEvent(new Event('scroll'));
    });
    expect(one<HTMLInputElement>('.lp-Log-follow input').checked).toBe(true);
  });

  it('takes the slash to its search field', () => {
    const { one } = render(<LogView text="one\n" href="/log" trans={trans} />);
    press(one('.lp-Log-scroll'), '/');
    expect(document.activeElement).toBe(one('input[type=search]'));
  });
});
