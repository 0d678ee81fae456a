import { ago, bytes, bytesOf, celsius, duration, figure, milliseconds, percent } from '../format';
import { trans } from './render';

const GB = 1024 ** 3;

describe('quantities', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KB'],
    [10 * GB, '10 GB'],
    [2 * GB, '2 GB'],
    [null, '–'],
    [undefined, '–'],
    [NaN, '–']
  ])('writes %p bytes', (value, text) => expect(bytes(value)).toBe(text));

  it('writes a part in the unit of the whole', () => {
    expect(bytesOf(61 * GB, 80 * GB)).toBe('61/80 GB');
    expect(bytesOf(100 * 1024 ** 2, 80 * GB)).toBe('0.1/80 GB');
    expect(bytesOf(null, 80 * GB)).toBe('–');
    expect(bytesOf(2 * GB, null)).toBe('2 GB');
  });

  it('writes what a host does not report as a dash', () => {
    expect([percent(null), celsius(null), milliseconds(null)]).toEqual(['–', '–', '–']);
    expect([percent(91.6), celsius(71), milliseconds(0.0184)]).toEqual(['92 %', '71 °C', '18 ms']);
  });

  it.each([
    [0.41184, '0.4118'],
    [0.0000123456, '1.235e-5'],
    [12345.6, '12,346'],
    [0, '0'],
    [-0.5, '-0.5'],
    [1e12, '1e12'],
    [null, '–']
  ])('writes the figure %p', (value, text) =>
    expect(figure(value)).toBe(text.replace('e12', 'e+12'))
  );
});

describe('durations', () => {
  it.each([
    [-3, '0 s'],
    [59, '59 s'],
    [840, '14 min'],
    [3570, '1 h'],
    [3600, '1 h'],
    [3900, '1 h 5 min'],
    [86400, '1 d'],
    [183600, '2 d 3 h']
  ])('writes %p seconds', (seconds, text) => expect(duration(seconds, trans)).toBe(text));

  it('says how long ago something was', () => {
    expect(ago(1000, 1003, trans)).toBe('just now');
    expect(ago(1000, 1180, trans)).toBe('3 min ago');
  });
});
