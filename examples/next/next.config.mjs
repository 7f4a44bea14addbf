// What start.mjs needs, and Next.js does not see, is copied too.
const forStart = ['pid1', 'signal-exit', 'p-timeout', 'debug', 'ms'].map((name) => `node_modules/${name}/**`)

export default {
  output: 'standalone',
  outputFileTracingIncludes: { '/*': ['start.mjs', ...forStart] },
}
