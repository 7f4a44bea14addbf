/** Where code was called, such as `/app/server.js:12:3`: the nearest frame that is not Node's own. Undefined where Node has called it. */
export function callSiteOf(framesAbove: Function): string | undefined {
  const frame = stackFrames(framesAbove).find((line) => !isOfNode(line))
  return frame === undefined ? undefined : placeIn(frame)
}

/** The frames of the current stack in Node's format, whatever format the app has set, without `above` and what it has called. */
export function stackFrames(above: Function): string[] {
  const kept = { stackTraceLimit: Error.stackTraceLimit, prepareStackTrace: Reflect.get(Error, 'prepareStackTrace') }
  setOnError({ stackTraceLimit: 30, prepareStackTrace: undefined })
  const holder: { stack?: unknown } = {}
  Error.captureStackTrace(holder, above)
  const [, ...frames] = String(holder.stack).split('\n')
  setOnError(kept)
  return frames.map((frame) => frame.trim())
}

/** Not by assignment: Error may be frozen (--frozen-intrinsics). */
function setOnError(properties: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(properties)) Reflect.set(Error, name, value)
}

function isOfNode(frame: string): boolean {
  return /\(?node:[\w/]+:\d+:\d+\)?$/.test(frame) || /\((?:<anonymous>|native)\)$/.test(frame)
}

/** `at listen (file:///app/server.js:12:3)` and `at file:///app/server.js:12:3` become `/app/server.js:12:3`. */
function placeIn(frame: string): string {
  const place = /\(([^()]+:\d+:\d+)\)$/.exec(frame)?.[1] ?? frame.replace(/^at (?:async )?/, '')
  const [, url, position] = /^(file:\/\/.+?)(:\d+:\d+)$/.exec(place) ?? []
  if (url === undefined) return place
  try {
    return process.getBuiltinModule('node:url').fileURLToPath(url) + position
  } catch {
    return place
  }
}
