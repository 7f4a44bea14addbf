// Next.js does not see what start.mjs imports, so this list says what to copy.
const forStart = ['pid1', 'signal-exit', 'p-timeout', 'debug', 'ms'].map((name) => `node_modules/${name}/**`)

export default {
  output: 'standalone',
  outputFileTracingIncludes: { '/*': ['start.mjs', ...forStart] },
}
