/** The file descriptor of a socket or a server. Needs `_handle.fd`; -1 where it is missing, and the kernel cannot be asked then. */
export function fdOf(holder: object): number {
  return (holder as { _handle?: { fd?: number } | null })._handle?.fd ?? -1
}

/** The symbol under which Node keeps a private field on an object itself. Needs its description; undefined where it is missing. */
export function nodeSymbol(holder: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(holder).find((symbol) => symbol.description === description)
}
