/**
 * Which rows of a long list are on screen, when rows have one to a few lines. Pure; in the browser.
 */

/** Where each row begins; one more than there are rows, so that the last is the whole height. */
export function offsets<T>(rows: readonly T[], height: (row: T) => number): Float64Array {
  const tops = new Float64Array(rows.length + 1);
  for (let i = 0; i < rows.length; i++) {
    tops[i + 1] = tops[i] + height(rows[i]);
  }
  return tops;
}

/** The row at a height: the last that begins at or above it. */
export function rowAt(tops: Float64Array, y: number): number {
  let low = 0;
  let high = tops.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle] <= y) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return Math.max(0, low);
}

/** The first row to draw and the first not to draw again, with `spare` rows around what is visible. */
export function visible(
  tops: Float64Array,
  top: number,
  height: number,
  spare = 4
): [number, number] {
  const count = tops.length - 1;
  if (count <= 0) {
    return [0, 0];
  }
  return [
    Math.max(0, rowAt(tops, top) - spare),
    Math.min(count, rowAt(tops, top + Math.max(0, height)) + 1 + spare)
  ];
}

/** Where to scroll so that a row is on screen, as little as possible. */
export function reveal(tops: Float64Array, row: number, top: number, height: number): number {
  if (tops[row] < top) {
    return tops[row];
  }
  return tops[row + 1] > top + height ? tops[row + 1] - height : top;
}
