/**
 * A line the size of a word: how a value came to where it is. In the browser.
 */
import * as React from 'react';

import { figure, isNumber } from './format';

/** x and its value; null where nothing was measured. */
export type Point = readonly [number, number | null];

export interface ISparklineProps {
  points: ReadonlyArray<Point>;
  width: number;
  height: number;
  /** What is shown, with its latest value: "loss 0.412". Read aloud. */
  label: string;
  /** The bounds of the values; by default the least and the greatest. */
  domain?: readonly [number, number];
  /** How a point is written on hovering. */
  format?: (x: number, value: number) => string;
}

const MARGIN = 1.5;

/** Renders again only when the points or their words change. */
export const Sparkline = React.memo(function Sparkline({
  points,
  width,
  height,
  label,
  domain,
  format
}: ISparklineProps): JSX.Element {
  const [hovered, setHovered] = React.useState<number | null>(null);
  const place = React.useMemo(
    () => placing(points, width, height, domain),
    [points, width, height, domain]
  );
  const known = points.filter(([, value]) => isNumber(value));
  const shown = hovered === null ? undefined : known[hovered];
  const words = shown ? (format ?? plainly)(shown[0], shown[1] as number) : '';

  const onPointerMove = (event: React.PointerEvent<SVGSVGElement>): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = ((event.clientX - box.left) / (box.width || 1)) * width;
    setHovered(nearest(known, at, place.x));
  };

  return (
    <span className="lp-Sparkline" style={{ width, height }}>
      <svg
        role="img"
        aria-label={label}
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        onPointerMove={onPointerMove}
        onPointerLeave={() => setHovered(null)}
      >
        <path className="lp-Sparkline-line" d={path(points, place)} />
        {shown && (
          <circle
            className="lp-Sparkline-dot"
            cx={place.x(shown[0])}
            cy={place.y(shown[1] as number)}
            r={2}
          />
        )}
      </svg>
      {shown && <span className="lp-Sparkline-value">{words}</span>}
    </span>
  );
});

export interface IPlacing {
  x: (x: number) => number;
  y: (value: number) => number;
}

/** From data to pixels: x over the whole width, values between the bounds. */
function placing(
  points: ReadonlyArray<Point>,
  width: number,
  height: number,
  domain?: readonly [number, number]
): IPlacing {
  const xs = points.map(([x]) => x);
  const values = points.map(([, value]) => value).filter(isNumber);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = domain ?? [Math.min(...values), Math.max(...values)];
  return {
    x: x => MARGIN + (right > left ? (x - left) / (right - left) : 1) * (width - 2 * MARGIN),
    y: value =>
      MARGIN +
      (high > low ? (high - clamp(value, low, high)) / (high - low) : 0.5) * (height - 2 * MARGIN)
  };
}

/** An SVG path through the points; a value that is not there leaves a gap, a value alone is drawn as a short dash. */
export function path(points: ReadonlyArray<Point>, place: IPlacing): string {
  let drawn = '';
  let pen = false;
  points.forEach(([x, value], index) => {
    if (!isNumber(value)) {
      pen = false;
      return;
    }
    const [left, top] = [place.x(x).toFixed(1), place.y(value).toFixed(1)];
    drawn += `${pen ? 'L' : 'M'}${left} ${top}`;
    if (!pen && !isNumber(points[index + 1]?.[1])) {
      drawn += 'h1';
    }
    pen = true;
  });
  return drawn;
}

/** The number of the point that lies nearest to a pixel, or null when there is none. */
export function nearest(
  points: ReadonlyArray<Point>,
  pixel: number,
  place: (x: number) => number
): number | null {
  let best: number | null = null;
  let distance = Infinity;
  points.forEach(([x], index) => {
    const away = Math.abs(place(x) - pixel);
    if (away < distance) {
      [best, distance] = [index, away];
    }
  });
  return best;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function plainly(x: number, value: number): string {
  return `${figure(x)}: ${figure(value)}`;
}
