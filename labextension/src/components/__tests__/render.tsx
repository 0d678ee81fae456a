/** React components on a real document, for tests. */
import { nullTranslator } from '@jupyterlab/translation';
import { act } from 'react';
import { createRoot } from 'react-dom/client';
import type { Root } from 'react-dom/client';

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

export const trans = nullTranslator.load('lepton_jupyter');

let roots: [Root, HTMLElement][] = [];

export interface IRendered {
  host: HTMLElement;
  /** The first element that matches; fails the test when there is none. */
  one: <T extends Element = HTMLElement>(selector: string) => T;
  again: (element: JSX.Element) => void;
}

/** Show an element; `again` shows it with other properties. All are taken away after each test. */
export function render(element: JSX.Element): IRendered {
  const host = document.body.appendChild(document.createElement('div'));
  const root = createRoot(host);
  roots.push([root, host]);
  const again = (next: JSX.Element): void => act(() => root.render(next));
  again(element);
  const one = <T extends Element>(selector: string): T => {
    const found = host.querySelector<T>(selector);
    if (!found) {
      throw new Error(`nothing matches ${selector} in ${host.innerHTML}`);
    }
    return found;
  };
  return { host, one, again };
}

/** Type into a field, as React hears it. */
export function type(field: HTMLInputElement, text: string): void {
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')?.set;
  act(() => {
    setter?.call(field, text);
    field.dispatchEvent(new Event('input', { bubbles: true }));
  });
}

export function press(element: Element, key: string, more: KeyboardEventInit = {}): void {
  act(() => {
    element.dispatchEvent(
      new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more })
    );
  });
}

export function click(element: Element): void {
  act(() => (element as HTMLElement).click());
}

/** Wait until `happened`; the test's own time limit fails it. */
export async function waitFor(happened: () => boolean): Promise<void> {
  while (!happened()) {
    await act(() => new Promise(resolve => setTimeout(resolve, 5)));
  }
}

afterEach(() => {
  act(() => roots.forEach(([root]) => root.unmount()));
  roots.forEach(([, host]) => host.remove());
  roots = [];
});
