/**
 * What a terminal shows of a line in the end: `\r` and `\b` take the cursor back, later characters cover earlier ones, "erase"
 * erases, and of all escape sequences only the colours stay. Pure; in the browser.
 */

/** Titles, links, character sets and other escapes that are no control sequences. */
const NOISE =
  // eslint-disable-next-line no-control-regex
  /\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[PX^_][^\u001b]*\u001b\\|\u001b[ -/]+[0-~]|\u001b[0-Z\\^-~]/g;
/** A control sequence: its parameters, and the letter that says what it does. */
// eslint-disable-next-line no-control-regex
const SEQUENCE = /\u001b\[([0-?]*)[ -/]*([@-~])/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/;
/** Control characters and broken sequences: all that is neither text nor a colour. */
const REST =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f]|\u001b(?!\[[\d;]*m)/g;
/** A colour as this module leaves it in a line. */
// eslint-disable-next-line no-control-regex
export const COLOUR = /\u001b\[([\d;]*)m/g;
const RESET = '\u001b[0m';
/** Characters of colour sequences that are remembered; a program that never resets would make them grow for ever. */
const MOST_COLOURS = 200;

interface ICell {
  text: string;
  colours: string;
}

/** A line as a terminal leaves it. Every escape character in the result begins a colour: `COLOUR`. */
export function settled(raw: string): string {
  if (!CONTROL.test(raw)) {
    return raw;
  }
  const line = raw.replace(NOISE, '');
  // eslint-disable-next-line no-control-regex
  if (!/[\r\b]|\u001b\[[0-2]?K/.test(line.replace(/\r+$/, ''))) {
    return line.replace(SEQUENCE, onlyColours).replace(REST, '');
  }
  return overwritten(line).replace(REST, '');
}

/** The same without its colours: what one reads, and looks for. */
export function plain(raw: string): string {
  const read = raw.includes('\u001b') ? raw.replace(COLOUR, '') : raw; // all that most lines need
  return CONTROL.test(read) ? settled(raw).replace(COLOUR, '') : read;
}

/** The colours that are on after a line that began with `before`. */
export function coloursAfter(raw: string, before: string): string {
  const last = raw.lastIndexOf('\u001b');
  if (last < 0) {
    return before;
  }
  if (raw.startsWith('[0m', last + 1) || raw.startsWith('[m', last + 1)) {
    return ''; // most lines that switch colours on switch them off
  }
  let colours = before;
  for (const [sequence] of settled(raw).matchAll(COLOUR)) {
    colours = added(colours, sequence);
  }
  return colours;
}

function added(before: string, sequence: string): string {
  // eslint-disable-next-line no-control-regex
  if (/^\u001b\[[0;]*m$/.test(sequence)) {
    return '';
  }
  return before.length > MOST_COLOURS ? sequence : before + sequence;
}

/** A sequence if it is a colour, in the form with semicolons that everybody understands. */
function onlyColours(_: string, parameters: string, kind: string): string {
  return kind === 'm' && /^[\d;:]*$/.test(parameters)
    ? `\u001b[${parameters.replace(/:+/g, ';')}m`
    : '';
}

function overwritten(line: string): string {
  const cells: ICell[] = [];
  let cursor = 0;
  let colours = '';
  for (let at = 0; at < line.length; at++) {
    const character = line[at];
    if (character === '\r') {
      cursor = 0;
    } else if (character === '\b') {
      cursor = Math.max(0, cursor - 1);
    } else if (character === '\u001b') {
      SEQUENCE.lastIndex = at;
      const match = SEQUENCE.exec(line);
      if (match?.index !== at) {
        continue;
      }
      at += match[0].length - 1;
      if (match[2] === 'K') {
        erase(cells, cursor, match[1]);
      } else {
        const colour = onlyColours(match[0], match[1], match[2]);
        colours = colour ? added(colours, colour) : colours;
      }
    } else {
      cells[cursor] = { text: character, colours };
      cursor += 1;
    }
  }
  return joined(cells, colours);
}

/** "Erase in line": from the cursor on, up to it, or all of it. The cursor stays. */
function erase(cells: ICell[], cursor: number, mode: string): void {
  if (mode !== '1') {
    cells.length = Math.min(cells.length, cursor);
  }
  if (mode === '1' || mode === '2') {
    cells.fill({ text: ' ', colours: '' }, 0, cursor);
  }
  while (cells.length < cursor) {
    cells.push({ text: ' ', colours: '' });
  }
}

function joined(cells: ReadonlyArray<ICell>, last: string): string {
  let text = '';
  let colours = '';
  for (const cell of cells) {
    if (cell.colours !== colours) {
      text += RESET + cell.colours;
      colours = cell.colours;
    }
    text += cell.text;
  }
  return colours === last ? text : text + RESET + last;
}
