/**
 * Bars: how much of something is used, and how far something is. A native <meter> or <progress> does not follow JupyterLab's
 * themes, so these are divs with the same roles. In the browser.
 */

import { isNumber } from './format';

interface IMeterProps {
  /** Part of `max`; null when the host does not report it. */
  value: number | null;
  max?: number;
  /** What is measured: "GPU 0 memory". */
  label: string;
  /** The value in words: "61/80 GB". */
  text: string;
}

/** From here on a resource is called nearly used up, and drawn so. */
const NEARLY_FULL = 0.9;

export function Meter({ value, max = 100, label, text }: IMeterProps): JSX.Element {
  if (!isNumber(value) || !isNumber(max) || max <= 0) {
    return <div className="lp-Bar jp-mod-unknown" role="img" aria-label={`${label}: ${text}`} />;
  }
  const part = Math.min(1, Math.max(0, value / max));
  return (
    <div
      className={`lp-Bar${part >= NEARLY_FULL ? ' jp-mod-full' : ''}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={max}
      aria-valuenow={Math.min(max, Math.max(0, value))}
      aria-valuetext={text}
      title={`${label}: ${text}`}
    >
      <div className="lp-Bar-fill" style={{ width: `${(part * 100).toFixed(1)}%` }} />
    </div>
  );
}

interface IProgressProps {
  /** 0 … 1; null while nobody knows. */
  fraction: number | null;
  label: string;
  text: string;
}

export function Progress({ fraction, label, text }: IProgressProps): JSX.Element {
  const known = isNumber(fraction);
  const part = known ? Math.min(1, Math.max(0, fraction)) : 0;
  return (
    <div
      className={`lp-Bar jp-mod-progress${known ? '' : ' jp-mod-unknown'}`}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? Math.round(part * 100) : undefined}
      aria-valuetext={text}
      title={text}
    >
      <div className="lp-Bar-fill" style={{ width: `${(part * 100).toFixed(1)}%` }} />
    </div>
  );
}
