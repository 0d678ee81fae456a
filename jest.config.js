// Unit tests of the browser's side: models and panels in jsdom, with the real React and Lumino.
const base = require('@jupyterlab/testutils/lib/jest-config')(__dirname);

// Packages that ship ECMAScript modules only, which Jest has to translate.
const modern = [
  '@jupyter/react-components',
  '@jupyter/web-components',
  '@jupyter/ydoc',
  '@jupyterlab/',
  '@marijn',
  '@microsoft',
  '@rjsf',
  'color',
  'exenv-es6',
  'lib0',
  'marked',
  'nanoid',
  'vscode-ws-jsonrpc',
  'y-protocols',
  'y-websocket',
  'yjs'
].join('|');

module.exports = {
  ...base,
  automock: false,
  collectCoverage: false,
  coverageReporters: undefined,
  modulePathIgnorePatterns: [
    '<rootDir>/lepton_jupyter',
    '<rootDir>/build',
    '<rootDir>/labextension/lib'
  ],
  reporters: ['default'],
  roots: ['<rootDir>/labextension/src'],
  testRegex: '/__tests__/.*\\.spec\\.tsx?$',
  transform: {
    ...base.transform,
    '^.+\\.tsx?$': ['ts-jest', { tsconfig: '<rootDir>/labextension/tsconfig.test.json' }]
  },
  transformIgnorePatterns: [`/node_modules/(?!${modern}).+`]
};
