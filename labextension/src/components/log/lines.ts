/**
 * A job's text as lines, with their colours, and what is looked for in it. Made for hundreds of thousands of lines: a line is
 * worked out when it is shown, and lines that are there already are not read again. Pure; in the browser.
 */
import { coloursAfter, plain, settled } from './terminal';

/** Where something was found: the line, and the characters from `start` to before `end`. */
export interface IMatch {
  line: number;
  start: number;
  end: number;
}

/** Lines that are kept worked out. */
const KEPT = 2000;

export class Lines {
  /** How many lines there are. A newline at the end begins no other line. */
  get length(): number {
    return this._raw.length;
  }

  /** Bring in the whole text as it is now. Returns the first line that may be another than before. */
  update(text: string): number {
    if (text === this._text) {
      return this._raw.length;
    }
    const grown = this._raw.length > 0 && text.startsWith(this._text.slice(0, this._last));
    const kept = grown ? this._raw.length - 1 : 0; // the last line may have grown, or be drawn over
    const fresh = text.slice(grown ? this._last : 0).split('\n');
    if (fresh[fresh.length - 1] === '') {
      fresh.pop();
    }
    this._last = grown ? this._last : 0;
    this._raw.length = kept;
    for (const [index, line] of fresh.entries()) {
      this._raw.push(line);
      this._last += index < fresh.length - 1 ? line.length + 1 : 0;
    }
    this._text = text;
    this._settled.clear();
    this._carryOver(kept);
    return kept;
  }

  /** A line with its colours; it begins with those that the line before left on. */
  coloured(index: number): string {
    let line = this._settled.get(index);
    if (line === undefined) {
      line = (this._colours.get(index) ?? '') + settled(this._raw[index]);
      if (this._settled.size >= KEPT) {
        this._settled.clear();
      }
      this._settled.set(index, line);
    }
    return line;
  }

  /** A line as one reads it. */
  plain(index: number): string {
    return plain(this._raw[index]);
  }

  /** Every place in the lines from `first` to before `end` that `pattern`, a global one, matches. */
  find(pattern: RegExp, first: number, end: number): IMatch[] {
    const found: IMatch[] = [];
    for (let line = first; line < Math.min(end, this._raw.length); line++) {
      const text = this.plain(line);
      pattern.lastIndex = 0;
      for (let match = pattern.exec(text); match?.[0]; match = pattern.exec(text)) {
        found.push({ line, start: match.index, end: match.index + match[0].length });
      }
    }
    return found;
  }

  /** Note which colours each line after `first` begins with. */
  private _carryOver(first: number): void {
    let colours = this._colours.get(first) ?? '';
    for (let index = first; index < this._raw.length; index++) {
      if (colours) {
        this._colours.set(index, colours);
      } else {
        this._colours.delete(index);
      }
      colours = coloursAfter(this._raw[index], colours);
    }
  }

  private _text = '';
  private _raw: string[] = [];
  /** Where the last line begins in the text. */
  private _last = 0;
  private _settled = new Map<number, string>();
  private _colours = new Map<number, string>();
}
