// How Jest translates the modules that jest.config.js names.
module.exports = require('@jupyterlab/testutils/lib/babel.config');
