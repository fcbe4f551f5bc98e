const { availableParallelism } = require('node:os');

// mocha adds a configuration's specs to those of the command line, where whoever names one wants that one alone
const named = process.argv.slice(2).some((arg) => /^(\.\/)?dist\/|\.spec\.js$/.test(arg));

module.exports = {
  // files beside each other, as many as there are cores; one alone is quicker without
  parallel: !named,
  jobs: availableParallelism(),
  spec: named ? [] : ['dist/spec/**/*.spec.js'],
  import: ['reflect-metadata'],
  'enable-source-maps': true,
  timeout: 20000,
  'forbid-only': true,
};
