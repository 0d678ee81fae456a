/**
 * The Chinese translation says everything that the sources say, and keeps every placeholder.
 */
import { Gettext, type TranslationBundle } from '@jupyterlab/translation';
import * as fs from 'fs';
import * as path from 'path';
import * as ts from 'typescript';

const SOURCES = path.join(__dirname, '..');
const CATALOGUE = path.join(
  SOURCES,
  '../../lepton_jupyter/locale/zh_CN/LC_MESSAGES/lepton_jupyter.json'
);

/** Every text that a source asks a translation of, and how many forms JupyterLab wants of it. */
function messages(): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of fs.readdirSync(SOURCES, { recursive: true }) as string[]) {
    if (/\.tsx?$/.test(name) && !name.includes('__tests__')) {
      const file = path.join(SOURCES, name);
      const source = ts.createSourceFile(
        name,
        fs.readFileSync(file, 'utf8'),
        ts.ScriptTarget.Latest,
        true
      );
      collect(source, found);
    }
  }
  return found;
}

function collect(node: ts.Node, found: Map<string, number>): void {
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
    const [message] = node.arguments;
    const { text: name } = node.expression.name;
    if (['__', '_n'].includes(name) && message && ts.isStringLiteralLike(message)) {
      found.set(message.text, name === '_n' ? 2 : 1);
    }
  }
  ts.forEachChild(node, child => collect(child, found));
}

/** What JupyterLab shows to a reader of Chinese. */
function chinese(): TranslationBundle {
  const bundle = new Gettext({ domain: 'lepton_jupyter', locale: 'zh_CN' });
  const { plural_forms: pluralForms, ...head } = catalogue[''] as unknown as Record<string, string>;
  // JupyterLab renames this key before it loads a catalogue.
  bundle.loadJSON({ ...catalogue, '': { ...head, pluralForms } } as never, 'lepton_jupyter');
  return bundle;
}

const placeholders = (text: string): string[] => [...new Set(text.match(/%\d/g) ?? [])].sort();

const catalogue = JSON.parse(fs.readFileSync(CATALOGUE, 'utf8')) as Record<string, string[]>;
const translated = Object.keys(catalogue).filter(key => key !== '');

describe('the Chinese translation', () => {
  const asked = messages();

  it('has each text, and none that nobody asks for', () => {
    expect(asked.size).toBeGreaterThan(100);
    expect(translated.sort()).toEqual([...asked.keys()].sort());
    // A text with a plural has a second form even in Chinese; else JupyterLab takes it for untranslated.
    const forms = translated.map(key => [key, catalogue[key].length]);
    expect(forms).toEqual(translated.map(key => [key, asked.get(key)]));
  });

  it('is what JupyterLab shows', () => {
    expect(chinese().__('Running')).toBe('运行中');
    expect(chinese()._n('%1 failed', '%1 failed', 3)).toBe('3 个失败');
  });

  it('keeps the placeholders', () => {
    const broken = translated.filter(
      key => placeholders(catalogue[key][0]).join() !== placeholders(key).join()
    );
    expect(broken).toEqual([]);
  });
});
