/** Values with which an app may throw or reject. The names are in the scenario, and each value is made when it is thrown. */
export const values = {
  error: () => new Error('the table is gone'),
  string: () => 'the table is gone',
  undefined: () => undefined,
  null: () => null,
  zero: () => 0,
  symbol: () => Symbol('gone'),
  bigint: () => 10n,
  function: () => () => {},
  emptyMessage: () => new Error(),
  manyLines: () => new Error('the table\nis\ngone'),
  controls: () => new Error('the \u001B[31mtable\u009B is \r gone'),
  frozen: () => Object.freeze(new Error('the table is gone')),
  withCause: () => new Error('no answer', { cause: new Error('the table is gone') }),
  circular: () => {
    const error = new Error('the table is gone')
    return Object.assign(error, { cause: error })
  },
  aggregate: () => new AggregateError([new Error('one'), 2], 'several'),
  domException: () => new DOMException('stopped', 'AbortError'),
  nullPrototype: () => Object.create(null),
  revokedProxy: () => {
    const { proxy, revoke } = Proxy.revocable(new Error('unseen'), {})
    revoke()
    return proxy
  },
  throwingProxy: () => new Proxy(new Error('unseen'), { get: refuse, getPrototypeOf: refuse, ownKeys: refuse }),
  throwingInspect: () =>
    Object.assign(new Error('the table is gone'), { [Symbol.for('nodejs.util.inspect.custom')]: refuse }),
  throwingStack: () => Object.defineProperty(new Error('the table is gone'), 'stack', { get: refuse }),
  throwingMessage: () => Object.defineProperty(new Error('unseen'), 'message', { get: refuse }),
  throwingPrimitive: () => ({ [Symbol.toPrimitive]: refuse }),
  throwingToString: () => ({ toString: refuse, toJSON: refuse }),
}

function refuse() {
  throw new Error('not to be looked at')
}
