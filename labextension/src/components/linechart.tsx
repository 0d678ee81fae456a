/**
 * A large chart of one or several lines over time or steps: axes, the values under the pointer, gaps where nothing was
 * measured. It is read with the arrow keys too. In the browser.
 */
import * as React from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';

import { duration, figure, isNumber, moment } from './format';
import { elapsedTicks, extent, gaps, ticks, timeTicks } from './scales';
import { path } from './sparkline';
import type { Point } from './sparkline';
import { useWidth } from './width';

export interface ILine {
  name: string;
  points: ReadonlyArray<Point>;
}

export interface ILineChartProps {
  title: string;
  lines: ReadonlyArray<ILine>;
  trans: TranslationBundle;
  height?: number;
  /** What x is: epoch seconds, seconds since a beginning, or a plain number such as a step. */
  kind?: 'time' | 'elapsed' | 'number';
  /** The bounds of the values; by default what fits them. */
  domain?: readonly [number, number];
  /** How a value is written: "92 %". */
  format?: (value: number) => string;
  /** Where the marks of the values go. */
  marks?: (low: number, high: number, count: number) => number[];
  /** What the lines do not show. */
  note?: string;
}

const X_MARKS = { time: timeTicks, elapsed: elapsedTicks, number: ticks };
const LEFT = 64;
const RIGHT = 12;
const TOP = 8;
const BOTTOM = 22;
/** Pixels between two marks of an axis, about. */
const SPREAD_X = 110;
const SPREAD_Y = 44;
/** Half of what is written under a mark, about: nearer to the edge it is set to the left. */
const HALF_NAME = 24;
/** How many styles of line the style sheet knows. */
const STYLES = 8;

/** Renders again only when its lines change. */
export const LineChart = React.memo(function LineChart({
  title,
  lines,
  trans,
  height = 180,
  kind = 'number',
  domain,
  format = figure,
  marks = ticks,
  note
}: ILineChartProps): JSX.Element {
  const [frame, width] = useWidth<HTMLDivElement>(600);
  const [cursor, setCursor] = React.useState<number | null>(null);
  const xs = React.useMemo(() => moments(lines), [lines]);
  const bounds = React.useMemo(() => domain ?? extent(values(lines)), [lines, domain]);

  const at = cursor === null ? null : closest(xs, cursor);
  const right = Math.max(LEFT + 1, width - RIGHT);
  const [from, to] = [xs[0] ?? 0, xs[xs.length - 1] ?? 1];
  const x = (value: number): number =>
    to > from ? LEFT + ((value - from) / (to - from)) * (right - LEFT) : (LEFT + right) / 2;
  const [low, high] = bounds;
  const y = (value: number): number =>
    TOP +
    ((high - Math.min(high, Math.max(low, value))) / (high - low || 1)) * (height - TOP - BOTTOM);
  const place = { x, y };

  const name = (value: number): string =>
    kind === 'time'
      ? moment(value, Date.now() / 1000)
      : kind === 'elapsed'
        ? duration(value, trans)
        : figure(value);
  const reading = (index: number): string =>
    [
      name(xs[index]),
      ...lines.map(line => {
        const value = valueAt(line, xs[index]);
        return `${line.name} ${isNumber(value) ? format(value) : trans.__('not measured')}`;
      })
    ].join(', ');

  const onPointerMove = (event: React.PointerEvent<HTMLDivElement>): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (right - LEFT);
    setCursor(from + part * (to - from));
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const last = xs.length - 1;
    const here = at ?? last + 1;
    const page = Math.max(1, Math.round(xs.length / 10));
    const next: { [key: string]: number } = {
      ArrowLeft: here - 1,
      ArrowDown: here - 1,
      ArrowRight: here + 1,
      ArrowUp: here + 1,
      PageDown: here - page,
      PageUp: here + page,
      Home: 0,
      End: last
    };
    if (event.key in next && last >= 0) {
      setCursor(xs[Math.min(last, Math.max(0, next[event.key]))]);
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === 'Escape') {
      setCursor(null);
    }
  };

  return (
    <figure className="lp-Chart">
      <figcaption className="lp-Chart-title">
        {title}
        <ul className="lp-Chart-legend">
          {lines.map((line, index) => (
            <li key={line.name}>
              {lines.length > 1 && <Swatch style={index} />}
              {line.name !== title && line.name}
              {at !== null && <b>{written(valueAt(line, xs[at]), format)}</b>}
            </li>
          ))}
          {at !== null && <li className="jp-mod-x">{name(xs[at])}</li>}
        </ul>
      </figcaption>
      {xs.length === 0 ? (
        <p className="lp-Chart-empty">{trans.__('No values yet.')}</p>
      ) : (
        <div
          ref={frame}
          className="lp-Chart-plot"
          role="slider"
          tabIndex={0}
          aria-label={trans.__('%1: read its values with the arrow keys', title)}
          aria-valuemin={1}
          aria-valuemax={xs.length}
          aria-valuenow={(at ?? xs.length - 1) + 1}
          aria-valuetext={reading(at ?? xs.length - 1)}
          onPointerMove={onPointerMove}
          onPointerLeave={() => setCursor(null)}
          onKeyDown={onKeyDown}
          onBlur={() => setCursor(null)}
        >
          <svg width={width} height={height} aria-hidden="true">
            {marks(low, high, (height - TOP - BOTTOM) / SPREAD_Y).map(value => (
              <g key={value} className="lp-Chart-mark">
                <line x1={LEFT} x2={right} y1={y(value)} y2={y(value)} />
                <text x={LEFT - 6} y={y(value)} dy="0.32em" textAnchor="end">
                  {format(value)}
                </text>
              </g>
            ))}
            {X_MARKS[kind](from, to, (right - LEFT) / SPREAD_X).map(value => (
              <text
                key={value}
                className="lp-Chart-x"
                x={right - x(value) < HALF_NAME ? right + RIGHT : x(value)}
                y={height - 6}
                textAnchor={right - x(value) < HALF_NAME ? 'end' : 'middle'}
              >
                {name(value)}
              </text>
            ))}
            {gaps(lines.map(line => line.points)).map(([start, end]) => (
              <rect
                key={start}
                className="lp-Chart-gap"
                x={x(start)}
                width={x(end) - x(start)}
                y={TOP}
                height={height - TOP - BOTTOM}
              />
            ))}
            {lines.map((line, index) => (
              <path
                key={line.name}
                className={`lp-Chart-line jp-mod-${index % STYLES}`}
                d={path(line.points, place)}
              />
            ))}
            {at !== null && (
              <line
                className="lp-Chart-cursor"
                x1={x(xs[at])}
                x2={x(xs[at])}
                y1={TOP}
                y2={height - BOTTOM}
              />
            )}
          </svg>
        </div>
      )}
      {note && <p className="lp-Chart-note">{note}</p>}
    </figure>
  );
});

/** A piece of the line itself, so that lines are told apart by more than their colour. */
function Swatch({ style }: { style: number }): JSX.Element {
  return (
    <svg width={18} height={8} aria-hidden="true">
      <path className={`lp-Chart-line jp-mod-${style % STYLES}`} d="M0 4H18" />
    </svg>
  );
}

function* values(lines: ReadonlyArray<ILine>): Iterable<number | null> {
  for (const line of lines) {
    for (const [, value] of line.points) {
      yield value;
    }
  }
}

/** Every x at which some line has a value, in order. */
function moments(lines: ReadonlyArray<ILine>): number[] {
  const found = new Set<number>();
  for (const line of lines) {
    for (const [x, value] of line.points) {
      if (isNumber(value)) {
        found.add(x);
      }
    }
  }
  return [...found].sort((a, b) => a - b);
}

function valueAt(line: ILine, x: number): number | null | undefined {
  return line.points.find(point => point[0] === x)?.[1];
}

function written(value: number | null | undefined, format: (value: number) => string): string {
  return isNumber(value) ? format(value) : '–';
}

/** The number of the entry of a sorted list that lies nearest to `value`; null for an empty list. */
function closest(sorted: ReadonlyArray<number>, value: number): number | null {
  let best: number | null = null;
  sorted.forEach((entry, index) => {
    if (best === null || Math.abs(entry - value) < Math.abs(sorted[best] - value)) {
      best = index;
    }
  });
  return best;
}
