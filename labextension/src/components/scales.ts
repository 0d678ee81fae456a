/**
 * Where the marks of an axis go, and where a line breaks because nothing was measured. Pure; in the browser.
 */
import { isNumber } from './format';
import type { Point } from './sparkline';

/** Steps of a clock, in seconds. */
const CLOCK = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800
];

/** At most about `count` round numbers from `low` to `high`. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) {
    return [low];
  }
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough * 0.999);
  return every(low, high, step ?? 10 * power);
}

/** At most about `count` amounts of memory that are round in KB, MB or GB. */
export function byteTicks(low: number, high: number, count: number): number[] {
  const unit = 1024 ** Math.floor(Math.log2(Math.max(1, high)) / 10);
  return ticks(low / unit, high / unit, count).map(value => value * unit);
}

/** At most about `count` round moments of the reader's own clock, in epoch seconds. */
export function timeTicks(low: number, high: number, count: number): number[] {
  const zone = new Date(low * 1000).getTimezoneOffset() * 60;
  return elapsedTicks(low - zone, high - zone, count).map(time => time + zone);
}

/** At most about `count` round durations, in seconds. */
export function elapsedTicks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  const days = Math.max(1, Math.ceil(rough / 86400)) * 86400;
  return every(low, high, CLOCK.find(n => n >= rough) ?? days);
}

function every(low: number, high: number, step: number): number[] {
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const found: number[] = [];
  for (let number = first; number <= last; number++) {
    found.push(Number((number * step).toPrecision(12)));
  }
  return found;
}

/** The least and the greatest of some numbers, with a little air; `[0, 1]` when there are none. */
export function extent(values: Iterable<number | null>): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (isNumber(value)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) {
    return [0, 1];
  }
  const air = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
  return [low - air, high + air];
}

/** Break a line wherever two points lie further apart than `gap`. */
export function broken(points: ReadonlyArray<Point>, gap: number): Point[] {
  const found: Point[] = [];
  points.forEach((point, index) => {
    const before = points[index - 1];
    if (before && point[0] - before[0] > gap) {
      found.push([(before[0] + point[0]) / 2, null]);
    }
    found.push(point);
  });
  return found;
}

/** The stretches in which none of the lines has a value: from the last known point to the next one. */
export function gaps(lines: ReadonlyArray<ReadonlyArray<Point>>): Array<[number, number]> {
  const rows = new Map<number, boolean>();
  for (const line of lines) {
    for (const [x, value] of line) {
      rows.set(x, (rows.get(x) ?? false) || isNumber(value));
    }
  }
  const found: Array<[number, number]> = [];
  let last: number | null = null;
  let open = false;
  for (const [x, known] of [...rows].sort((a, b) => a[0] - b[0])) {
    if (known) {
      if (open && last !== null) {
        found.push([last, x]);
      }
      [last, open] = [x, false];
    } else {
      open = true;
    }
  }
  return found;
}
