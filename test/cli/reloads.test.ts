// A reload reads what was there when it was asked for, and a storm of them is not one each.

import { expect, it } from 'vitest'
import { Reloads } from '../../src/cli/reloads.ts'

/** Reloads that end when they are told to. */
function bed(): { reloads: Reloads; begun: () => number; end: (result: string | null) => void } {
  const running: ((result: string | null) => void)[] = []
  let begun = 0
  const reloads = new Reloads(() => {
    begun += 1
    return new Promise((resolve) => running.push(resolve))
  })
  return { reloads, begun: () => begun, end: (result) => running.shift()?.(result) }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('one at a time, and one more for all who ask meanwhile', async () => {
  const { reloads, begun, end } = bed()
  const first = reloads.ask()
  const storm = Array.from({ length: 1_000 }, () => reloads.ask())
  expect(begun()).toBe(1)
  end('the first is bad')
  expect(await first).toBe('the first is bad')
  await turn()
  expect(begun()).toBe(2)
  end(null)
  expect(await Promise.all(storm)).toEqual(storm.map(() => null))
  await turn()
  expect(begun()).toBe(2)
})

it('asked while the second runs, there is a third', async () => {
  const { reloads, begun, end } = bed()
  void reloads.ask()
  const second = reloads.ask()
  end(null)
  await turn()
  const third = reloads.ask()
  expect(begun()).toBe(2)
  end('second')
  expect(await second).toBe('second')
  await turn()
  expect(begun()).toBe(3)
  end('third')
  expect(await third).toBe('third')
})

it('after one that failed there is another', async () => {
  const { reloads, end } = bed()
  const first = reloads.ask()
  end('bad')
  expect(await first).toBe('bad')
  const next = reloads.ask()
  end(null)
  expect(await next).toBe(null)
})
