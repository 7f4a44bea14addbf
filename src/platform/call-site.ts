const mostFrames = 30

/** Whether a place in the code, or a file, belongs to an installed package. */
export function isInPackage(place: string): boolean {
  return /[\\/]node_modules[\\/]/.test(place)
}

/**
 * Keeps where code was called, such as `/app/server.js:12:3`: the nearest of some frames that is not Node's own. Undefined where Node has
 * called it. The text is made when the returned function is called, because that takes a hundred times as long.
 */
export function keepCallSite(above: Function, frames: number): () => string | undefined {
  const stack = captureStack(above, frames)
  return () => placeOf(framesIn(stack))
}

/** The frames of the current stack in Node's format, whatever format the app has set, without `above` and what it has called. */
export function stackFrames(above: Function): string[] {
  return framesIn(captureStack(above, mostFrames))
}

interface Stack {
  readonly stack?: unknown
}

function captureStack(above: Function, frames: number): Stack {
  const { stackTraceLimit } = Error
  const captured: Stack = {}
  // Not by assignment: Error may be frozen (--frozen-intrinsics).
  Reflect.set(Error, 'stackTraceLimit', frames)
  Error.captureStackTrace(captured, above)
  Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  return captured
}

/** Makes the text of a stack when it is first asked for. */
function framesIn(captured: Stack): string[] {
  const format: unknown = Reflect.get(Error, 'prepareStackTrace')
  Reflect.set(Error, 'prepareStackTrace', undefined)
  const [, ...frames] = String(captured.stack).split('\n')
  Reflect.set(Error, 'prepareStackTrace', format)
  return frames.map((frame) => frame.trim())
}

function placeOf(frames: readonly string[]): string | undefined {
  const frame = frames.find((line) => !isOfNode(line))
  return frame === undefined ? undefined : placeIn(frame)
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
