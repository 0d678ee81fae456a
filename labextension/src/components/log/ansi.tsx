/**
 * One line of text with its colours, as React elements. The text comes from a host: it only ever becomes text nodes, class
 * names out of a fixed list, and colours made of three numbers; there is no HTML in between. In the browser.
 */
import Anser, { type AnserJsonEntry } from 'anser';
import * as React from 'react';

import type { IMatch } from './lines';

/** Colours that themes define; others come as three numbers. */
const NAMED = /^ansi-(?:bright-)?(?:black|red|green|yellow|blue|magenta|cyan|white)$/;
const RGB = /^\d{1,3}, \d{1,3}, \d{1,3}$/;
const PALETTE = /^ansi-palette-(\d{1,3})$/;
const DECORATIONS = new Set(['bold', 'dim', 'italic', 'underline', 'hidden', 'strikethrough']);
const LEVELS = [0, 95, 135, 175, 215, 255];
/** Characters of one line that are shown; a browser gets slow on lines of megabytes. */
export const LONGEST = 10000;

/** A piece of a line that looks the same from end to end. */
interface IPiece {
  text: string;
  className: string;
  style: React.CSSProperties | undefined;
}

interface ILineProps {
  /** As `Lines.coloured` gives it. */
  line: string;
  /** What to mark in it, from left to right. */
  matches?: ReadonlyArray<IMatch>;
  /** The one of them that is visited. */
  current?: IMatch;
  /** What is said of a line that is cut, with the number of characters that are missing. */
  tooLong: (missing: number) => string;
}

export const AnsiLine = React.memo(function AnsiLine({
  line,
  matches = [],
  current,
  tooLong
}: ILineProps): JSX.Element {
  const { pieces, missing } = cut(parsed(line));
  let at = 0;
  return (
    <>
      {pieces.map((piece, index) => {
        const start = at;
        at += piece.text.length;
        const inside = marked(piece.text, start, matches, current);
        return piece.className || piece.style ? (
          <span key={index} className={piece.className} style={piece.style}>
            {inside}
          </span>
        ) : (
          <React.Fragment key={index}>{inside}</React.Fragment>
        );
      })}
      {missing > 0 && <span className="lp-Log-cut">{tooLong(missing)}</span>}
    </>
  );
});

/** The pieces of a line. */
function parsed(line: string): IPiece[] {
  if (!line.includes('\u001b')) {
    return line ? [{ text: line, className: '', style: undefined }] : [];
  }
  return Anser.ansiToJson(line, { use_classes: true, remove_empty: true }).map(
    (chunk: AnserJsonEntry & { isInverted?: boolean }) => {
      const front = colour(chunk.fg, chunk.fg_truecolor, chunk.isInverted ? 'ansi-black' : '');
      const back = colour(chunk.bg, chunk.bg_truecolor, chunk.isInverted ? 'ansi-white' : '');
      const names = chunk.decorations
        .filter(name => DECORATIONS.has(name))
        .map(name => `jp-mod-${name}`);
      return {
        text: chunk.content,
        className: [
          ...names,
          ...(front.name ? [`lp-Ansi-${front.name}`] : []),
          ...(back.name ? [`lp-Ansi-on-${back.name}`] : [])
        ].join(' '),
        style: front.rgb || back.rgb ? { color: front.rgb, backgroundColor: back.rgb } : undefined
      };
    }
  );
}

interface IColour {
  name?: string;
  rgb?: string;
}

/** `swapped` is what the parser calls the page's own colours when it swaps front and back. */
function colour(
  name: string | null | undefined,
  numbers: string | null | undefined,
  swapped: string
): IColour {
  if (!name) {
    return {};
  }
  if (name === swapped) {
    return { name: 'swapped' };
  }
  if (name === 'ansi-truecolor') {
    return numbers && RGB.test(numbers) ? { rgb: `rgb(${numbers})` } : {};
  }
  const palette = PALETTE.exec(name);
  if (palette) {
    return { rgb: `rgb(${paletteColour(Number(palette[1]))})` };
  }
  return NAMED.test(name) ? { name: name.slice('ansi-'.length) } : {};
}

/** A colour of the 256 that xterm has, from 16 on: a cube of 6 × 6 × 6, then 24 greys. */
function paletteColour(index: number): string {
  if (index >= 232) {
    return Array(3)
      .fill(8 + (index - 232) * 10)
      .join(', ');
  }
  const cube = index - 16;
  return [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6]
    .map(level => LEVELS[level])
    .join(', ');
}

function cut(pieces: IPiece[]): { pieces: IPiece[]; missing: number } {
  const kept: IPiece[] = [];
  let room = LONGEST;
  let missing = 0;
  for (const piece of pieces) {
    missing += Math.max(0, piece.text.length - room);
    if (room > 0) {
      kept.push({ ...piece, text: piece.text.slice(0, room) });
    }
    room = Math.max(0, room - piece.text.length);
  }
  return { pieces: kept, missing };
}

/** A piece that begins at `start` of its line, with what was found in it marked. */
function marked(
  text: string,
  start: number,
  matches: ReadonlyArray<IMatch>,
  current: IMatch | undefined
): React.ReactNode {
  const nodes: React.ReactNode[] = [];
  let done = 0;
  for (const match of matches) {
    const from = Math.max(done, match.start - start);
    const to = Math.min(text.length, match.end - start);
    if (from < to) {
      nodes.push(
        text.slice(done, from),
        <mark key={match.start} className={match === current ? 'jp-mod-current' : undefined}>
          {text.slice(from, to)}
        </mark>
      );
      done = to;
    }
  }
  return nodes.length ? [...nodes, text.slice(done)] : text;
}
