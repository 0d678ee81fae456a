/**
 * Which of very many equally high rows have to exist, for a scroll position. Pure; in the browser.
 */

/** Browsers cannot make an element much higher than this (Firefox: 17.9 million pixels). */
const TALLEST = 10_000_000;
/** Rows that exist beyond both edges, so that a quick scroll shows no blank. */
const SPARE = 20;

export interface IWindow {
  /** The rows from `first` to before `end` exist. */
  first: number;
  end: number;
  /** Where the first of them is, in pixels from the top of the scrolled element. */
  top: number;
  /** How high the scrolled element is. */
  height: number;
}

/** What exists of `count` rows when the element is scrolled by `scrolled` pixels and `visible` pixels are seen. */
export function windowOf(count: number, row: number, scrolled: number, visible: number): IWindow {
  const whole = count * row;
  const height = Math.min(whole, TALLEST);
  // Where rows are more than an element can be high, a pixel of scrolling stands for several.
  const at = height < whole ? (scrolled / (height - visible || 1)) * (whole - visible) : scrolled;
  const first = Math.max(0, Math.min(count, Math.floor(at / row) - SPARE));
  const end = Math.max(first, Math.min(count, Math.ceil((at + visible) / row) + SPARE));
  return { first, end, top: scrolled - (at - first * row), height };
}

/** How far to scroll so that row `index` is in the middle of what is seen. */
export function scrollTo(index: number, count: number, row: number, visible: number): number {
  const whole = count * row;
  const height = Math.min(whole, TALLEST);
  const wanted = Math.max(0, Math.min(whole - visible, index * row - (visible - row) / 2));
  return height < whole ? (wanted / (whole - visible || 1)) * (height - visible) : wanted;
}
