// A promise and what settles it: how the two ends of a test wait for each other.

export interface Gate<T> {
  readonly open: (value: T) => void
  readonly opened: Promise<T>
}

export function gate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => undefined
  const opened = new Promise<T>((resolve) => {
    open = resolve
  })
  return { open, opened }
}
