/** A number of places that runs take and give back, in the order of asking: one each, or all of them to be alone. */
export class Places {
  readonly all: number
  #free: number
  readonly #waiting: { readonly count: number; readonly start: () => void }[] = []

  constructor(all: number) {
    this.all = all
    this.#free = all
  }

  async with<T>(count: number, run: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => {
      this.#waiting.push({ count, start: resolve })
      this.#startNext()
    })
    try {
      return await run()
    } finally {
      this.#free += count
      this.#startNext()
    }
  }

  #startNext(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.count <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#free -= next.count
      next.start()
    }
  }
}
