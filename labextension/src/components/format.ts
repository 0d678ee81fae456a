/**
 * How quantities are written, in one place, so that a panel, a chart and a status line say the same. Pure; in the browser.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

/** What stands where a host does not report a value. */
export const UNKNOWN = '–';

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The power of 1024 in which `value` is best read. Memory is sold in such units, an "80 GB" card has 80 × 1024³ bytes. */
function scale(value: number): number {
  let power = 0;
  while (Math.abs(value) >= 1024 && power < UNITS.length - 1) {
    value /= 1024;
    power += 1;
  }
  return power;
}

function scaled(value: number, power: number): string {
  const shown = value / 1024 ** power;
  return shown !== 0 && Math.abs(shown) < 9.95 && power > 0
    ? trimmed(shown.toFixed(1))
    : shown.toFixed(0);
}

function trimmed(text: string): string {
  return text.replace(/\.0+$/, '');
}

/** "2.1 GB", or "–". */
export function bytes(value: number | null | undefined): string {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  const power = scale(value);
  return `${scaled(value, power)} ${UNITS[power]}`;
}

/** "61/80 GB": both in the unit of the total. */
export function bytesOf(used: number | null | undefined, total: number | null | undefined): string {
  if (!isNumber(used) || !isNumber(total)) {
    return isNumber(used) ? bytes(used) : UNKNOWN;
  }
  const power = scale(total);
  return `${scaled(used, power)}/${scaled(total, power)} ${UNITS[power]}`;
}

/** "92 %", or "–". */
export function percent(value: number | null | undefined): string {
  return isNumber(value) ? `${value.toFixed(0)} %` : UNKNOWN;
}

/** "71 °C", or "–". */
export function celsius(value: number | null | undefined): string {
  return isNumber(value) ? `${value.toFixed(0)} °C` : UNKNOWN;
}

/** "640 W", or "–". */
export function watts(value: number | null | undefined): string {
  return isNumber(value) ? `${value.toFixed(0)} W` : UNKNOWN;
}

/** "18 ms" for 0.018, or "–". */
export function milliseconds(value: number | null | undefined): string {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  return value < 0.001 ? '<1 ms' : `${(value * 1000).toFixed(0)} ms`;
}

/** A value with four significant digits: "0.4118", "1.235e-5", "12,346". */
export function figure(value: number | null | undefined): string {
  if (!isNumber(value)) {
    return UNKNOWN;
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) {
    return value.toExponential(3).replace(/\.?0+e/, 'e');
  }
  return value.toLocaleString(
    undefined,
    size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 }
  );
}

/** How long something takes: "45 s", "14 min", "1 h 5 min", "2 d 3 h". */
export function duration(seconds: number, trans: TranslationBundle): string {
  if (seconds < MINUTE - 0.5) {
    return trans.__('%1 s', Math.max(0, Math.round(seconds)));
  }
  if (seconds < DAY - MINUTE / 2) {
    const [hours, minutes] = split(seconds, HOUR, MINUTE);
    if (!hours) {
      return trans.__('%1 min', minutes);
    }
    return minutes ? trans.__('%1 h %2 min', hours, minutes) : trans.__('%1 h', hours);
  }
  const [days, hours] = split(seconds, DAY, HOUR);
  return hours ? trans.__('%1 d %2 h', days, hours) : trans.__('%1 d', days);
}

/** How many of the big and of the small unit, rounded to the small one. */
function split(seconds: number, big: number, small: number): [number, number] {
  const smalls = Math.round(seconds / small);
  return [Math.floor((smalls * small) / big), smalls % (big / small)];
}

/** When something was, seen from `now`: "just now", "3 min ago". Both are epoch seconds. */
export function ago(time: number, now: number, trans: TranslationBundle): string {
  const seconds = now - time;
  return seconds < 5 ? trans.__('just now') : trans.__('%1 ago', duration(seconds, trans));
}

/** A moment on the reader's own clock: the time, and the date too when it is not that of `now`. Epoch seconds. */
export function moment(time: number, now: number): string {
  const date = new Date(time * 1000);
  const sameDay = date.toDateString() === new Date(now * 1000).toDateString();
  return sameDay ? date.toLocaleTimeString() : date.toLocaleString();
}

export function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
