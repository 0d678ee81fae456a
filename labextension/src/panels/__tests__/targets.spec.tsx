import { Widget } from '@lumino/widgets';
import { act } from 'react';

import { click, press, render, trans } from '../../components/__tests__/render';
import { page, sample, settle, target, type Answers, type IPage } from '../../views/__tests__/page';
import { TargetList, TargetsPanel } from '../targets';

const GB = 1024 ** 3;
const open = jest.fn();
const add = jest.fn();
let here: IPage;

const now = (): number => Date.now() / 1000;

function show(answers: Answers = {}): ReturnType<typeof render> {
  here = page(answers);
  return render(<TargetList lepton={here.lepton} trans={trans} open={open} add={add} />);
}

function hear(message: Parameters<IPage['hear']>[0]): void {
  act(() => here.hear(message));
}

beforeEach(() => {
  open.mockClear();
  add.mockClear();
});
afterEach(() => here.dispose());

describe('the list of targets', () => {
  it('teaches nothing before the server has said which there are', () => {
    const { host } = show();
    expect(host.querySelector('.lp-Targets-empty')).toBeNull();
    hear({ type: 'targets', targets: [] });
    expect(host.querySelector('.lp-Targets-empty')).not.toBeNull();
    click(host.querySelector('.lp-Targets-add') as Element);
    expect(add).toHaveBeenCalled();
  });

  it('says in words what is on each device', () => {
    const { one, host } = show();
    hear({
      type: 'targets',
      targets: [target('gpu-box', { is_default: true, sample: sample(now(), [92, 3]) })]
    });
    expect(one('.lp-Link').textContent).toContain('connected');
    expect(host.textContent).toContain('18 ms');
    expect(host.textContent).toContain('default');
    expect(host.querySelectorAll('.lp-Device')).toHaveLength(3);
    const meters = [...host.querySelectorAll('[role=meter]')].map(meter => [
      meter.getAttribute('aria-label'),
      meter.getAttribute('aria-valuetext')
    ]);
    expect(meters).toEqual([
      ['GPU 0 utilisation', '92 %'],
      ['GPU 0 memory', '61/80 GB'],
      ['GPU 1 utilisation', '3 %'],
      ['GPU 1 memory', '61/80 GB'],
      ['CPU', '34 %']
    ]);
    expect(host.textContent).toContain('71 °C');
    expect(host.textContent).toContain('640 W');
    expect(host.textContent).toContain('RAM 41/256 GB');
    expect(host.textContent).toContain('disk 120/500 GB');
    expect(one('.lp-Target').classList.contains('jp-mod-stale')).toBe(false);
  });

  it('shows a dash for what a host does not report', () => {
    const { one } = show();
    hear({ type: 'targets', targets: [target('gpu1', { sample: sample(now(), [null]) })] });
    expect(one('.lp-Device').textContent).toBe('GPU 0––––');
    expect(one('.lp-Device [role=img]').getAttribute('aria-label')).toBe('GPU 0 utilisation: –');
  });

  it('greys and dates what is old, or not connected', () => {
    const { one, host } = show();
    hear({ type: 'targets', targets: [target('gpu1', { sample: sample(now() - 185, [5]) })] });
    expect(one('.lp-Target').classList.contains('jp-mod-stale')).toBe(true);
    expect(host.textContent).toContain('last seen 3 min ago');
    hear({ type: 'sample', target: 'gpu1', sample: sample(now(), [6]), latency: 0.02 });
    expect(one('.lp-Target').classList.contains('jp-mod-stale')).toBe(false);
    hear({ type: 'link', target: 'gpu1', link: 'lost', words: 'gpu1 does not answer' });
    expect(one('.lp-Target').classList.contains('jp-mod-stale')).toBe(true);
    expect(host.textContent).toContain('not reachable');
    expect(host.textContent).toContain('gpu1 does not answer');
  });

  it('says who holds a device and what waits', () => {
    const { one } = show();
    const busy = sample(now(), [92]);
    busy.devices[0].processes = [
      { pid: 1, user: 'bob', name: 'python', memory: 2 * GB, job: '' },
      { pid: 2, user: 'ann', name: 'python', memory: 41 * GB, job: 'j1' },
      { pid: 3, user: '', name: '', memory: null, job: '' },
      { pid: 4, user: 'eve', name: 'x', memory: 0, job: '' }
    ];
    busy.queue = [
      { job: 'j1', name: 'resnet', state: 'RUNNING' },
      { job: 'j2', name: '', state: 'QUEUED' }
    ];
    hear({ type: 'targets', targets: [target('gpu1', { sample: busy })] });
    expect([...one('.lp-Holders').children].map(item => item.textContent)).toEqual([
      'ann: j1 41 GB',
      'bob: python 2 GB',
      '3',
      'and 1 more'
    ]);
    expect([...one('.lp-Queue').children].map(item => item.textContent)).toEqual([
      '▶ running: resnet',
      '⏸ waiting: j2'
    ]);
  });

  it('renders only the row that changed', () => {
    const { host } = show();
    hear({
      type: 'targets',
      targets: [
        target('a', { sample: sample(now(), [1]) }),
        target('b', { sample: sample(now(), [2]) })
      ]
    });
    const changed: Node[] = [];
    const observer = new MutationObserver(records =>
      records.forEach(({ target }) => changed.push(target))
    );
    observer.observe(host, {
      subtree: true,
      childList: true,
      attributes: true,
      characterData: true
    });
    hear({ type: 'sample', target: 'b', sample: sample(now(), [50]), latency: 0.018 });
    observer.takeRecords().forEach(({ target }) => changed.push(target));
    observer.disconnect();
    const row = host.querySelector('[data-target=a]') as Element;
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.some(node => row.contains(node))).toBe(false);
  });

  it('tests a target and says what to do about what is missing', async () => {
    const { one, host } = show({
      'POST targets/gpu1/test': () => ({
        findings: [
          { subject: 'Python', ok: true, value: '3.11', cure: '' },
          { subject: 'ipykernel', ok: false, value: 'missing', cure: 'pip install ipykernel' }
        ]
      })
    });
    hear({ type: 'targets', targets: [target('gpu1')] });
    click(one('[aria-label="Test gpu1"]'));
    await act(settle);
    expect(host.querySelectorAll('.lp-Findings li')).toHaveLength(2);
    expect(one('.lp-Findings-cure').textContent).toBe('pip install ipykernel');
    click(one('.lp-Findings > button'));
    expect(host.querySelector('.lp-Findings')).toBeNull();
  });

  it('makes a target the default, and says why that failed', async () => {
    const { one, host } = show({ 'PUT targets/default': () => 400 });
    hear({ type: 'targets', targets: [target('gpu1'), target('gpu2', { is_default: true })] });
    expect(host.querySelector('[aria-label="Make gpu2 the default"]')).toBeNull();
    click(one('[aria-label="Make gpu1 the default"]'));
    await act(settle);
    expect(here.asked).toContain('PUT targets/default');
    expect(one('.lp-said').textContent).toBe('cannot. Do this.');
  });

  it('removes a target only after a yes', async () => {
    const { one } = show({ 'DELETE targets/gpu1': () => ({}) });
    hear({ type: 'targets', targets: [target('gpu1')] });
    for (const [button, asked] of [
      ['.jp-mod-reject', 0],
      ['.jp-mod-warn', 1]
    ] as const) {
      click(one('[aria-label="Remove gpu1"]'));
      await act(settle);
      click(document.querySelector(`.jp-Dialog ${button}`) as Element);
      await act(settle);
      expect(here.asked.filter(request => request.startsWith('DELETE'))).toHaveLength(asked);
    }
  });

  it('is walked with the arrow keys', () => {
    const { one } = show();
    hear({ type: 'targets', targets: [target('a'), target('b')] });
    one('[data-target=a] .lp-Target-name').focus();
    press(document.activeElement as Element, 'ArrowDown');
    expect(document.activeElement?.textContent).toBe('b');
    press(document.activeElement as Element, 'ArrowDown');
    expect(document.activeElement?.textContent).toBe('b');
    click(document.activeElement as Element);
    expect(open).toHaveBeenCalledWith('b');
  });

  it('shows hostile names as text', () => {
    const { host } = show();
    const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
    const bad = sample(now(), [1]);
    bad.devices[0].name = evil;
    bad.devices[0].processes = [{ pid: 1, user: evil, name: evil, memory: 1, job: evil }];
    bad.queue = [{ job: evil, name: evil, state: 'RUNNING' }];
    hear({
      type: 'targets',
      targets: [target(evil, { where: evil, words: evil, kind: evil, sample: bad })]
    });
    expect(host.querySelector('img, script')).toBeNull();
    expect(host.textContent).toContain(evil);
  });
});

describe('the panel of targets', () => {
  it('looks at its targets only while it is seen', () => {
    here = page();
    const panel = new TargetsPanel({ lepton: here.lepton, trans, open, add });
    const looks = (): unknown[] =>
      here.said.filter(({ type }) => type === 'look').map(({ targets }) => targets);
    hear({ type: 'targets', targets: [target('a')] });
    expect(looks()).toEqual([]);
    act(() => Widget.attach(panel, document.body));
    expect(looks()).toEqual([['a']]);
    hear({ type: 'targets', targets: [target('a'), target('b')] });
    expect(looks()).toEqual([['a'], ['a', 'b']]);
    act(() => panel.hide());
    expect(looks()).toEqual([['a'], ['a', 'b'], []]);
    act(() => panel.show());
    expect(looks()).toHaveLength(4);
    act(() => panel.dispose());
    expect(looks()).toEqual([['a'], ['a', 'b'], [], ['a', 'b'], []]);
    expect(here.said.filter(({ type }) => type === 'visible').pop()).toMatchObject({
      visible: false
    });
  });
});
