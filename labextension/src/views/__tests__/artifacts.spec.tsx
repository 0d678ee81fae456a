import { click, render, trans, waitFor } from '../../components/__tests__/render';
import type { IArtifact, IVariable } from '../../protocol';
import { ApiError } from '../../request';
import { Artifacts } from '../artifacts';
import { displayed, left } from './page';

describe('the files of a job', () => {
  const bring = jest.fn<Promise<void>, [string]>(() => Promise.resolve());
  const saved: string[] = [];
  const shownFiles = (
    list: IArtifact[],
    variables: IVariable[] = [],
    unlisted = 0
  ): ReturnType<typeof render> =>
    render(
      <Artifacts
        job="1"
        list={list}
        variables={variables}
        unlisted={unlisted}
        url={id => `/x/${id}`}
        bring={bring}
        trans={trans}
      />
    );
  beforeEach(() => {
    saved.length = 0;
    bring.mockClear();
    jest.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (
      this: HTMLAnchorElement
    ) {
      saved.push(this.getAttribute('href') ?? '');
    });
  });
  afterEach(() => jest.restoreAllMocks());

  it('are pictures only where a browser draws them, and downloads all', () => {
    const list = [
      displayed('a.png', 'image/png'),
      displayed('b.svg', 'image/svg+xml'),
      displayed('c.html', 'text/html')
    ];
    const { host } = shownFiles(list);
    expect([...host.querySelectorAll('img')].map(image => image.getAttribute('src'))).toEqual([
      '/x/a.png'
    ]);
    expect(host.querySelectorAll('a[download]')).toHaveLength(3);
  });

  it('are brought from their host and then saved, by our id and not by their name', async () => {
    let arrive = (): void => undefined;
    bring.mockReturnValueOnce(new Promise(resolve => (arrive = resolve)));
    const { host, one } = shownFiles([left('file-1', '../out-01.png', 's3://bucket/x')]);
    expect(one('li').textContent).toContain('../out-01.png2 KB · s3://bucket/x');
    const button = one('button');
    expect(button.getAttribute('aria-label')).toBe('Download ../out-01.png');
    click(button);
    click(button);
    expect(bring.mock.calls).toEqual([['file-1']]);
    expect(one('[role=status]').textContent).toBe('On its way from its host…');
    expect([button.getAttribute('aria-disabled'), saved.length]).toEqual(['true', 0]);
    arrive();
    await waitFor(() => saved.length > 0);
    expect(saved).toEqual(['/x/file-1']);
    expect(one('[role=status]').textContent).toBe('');
    expect(host.querySelector('img')).toBeNull();
  });

  it('say why they do not come', async () => {
    bring.mockRejectedValueOnce(new ApiError(410, 'gpu1 does not keep it any more', 'Run it.'));
    const { one } = shownFiles([left('file-1', 'model.bin')]);
    click(one('button'));
    await waitFor(() => one('button').getAttribute('aria-disabled') === 'false');
    expect(one('[role=status]').textContent).toBe('gpu1 does not keep it any more. Run it.');
    expect(saved).toEqual([]);
  });

  it('have the variables beside them, and how they come', () => {
    const { host } = shownFiles(
      [],
      [
        { name: 'w', words: 'ndarray (3, 4)', size: 96 },
        { name: 'f', words: 'no safe format', size: null }
      ]
    );
    const lines = [...host.querySelectorAll('li')].map(({ textContent }) => textContent);
    expect(lines).toEqual(['wndarray (3, 4), 96 B', 'fno safe format']);
    expect(host.textContent).toContain('%lepton_fetch 1 brings the variables into a notebook.');
  });

  it('are many at most, and the rest is said', () => {
    const many = Array.from({ length: 205 }, (_, n) => left(`file-${n + 1}`, `part-${n}`));
    const { host } = shownFiles(many);
    expect(host.querySelectorAll('li')).toHaveLength(200);
    expect(host.textContent).toContain('5 more; %lepton_fetch 1 brings all.');
    const { host: fuller } = shownFiles(many, [], 20000);
    expect(fuller.textContent).toContain('20005 more; %lepton_fetch 1 brings all.');
  });
});
