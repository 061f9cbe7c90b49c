// What is open is judged again in slices, each entry by the policy in force, and nothing is left out.

import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Judgement } from '../../src/proxy/deps.ts'
import { Live, type Open } from '../../src/proxy/live.ts'

const judgement = (policyHash: string): Judgement => ({ policyHash }) as Judgement
const FIRST = judgement('first')
const SECOND = judgement('second')
const THIRD = judgement('third')
/** The listener lets in no more than half of it: a connection and a request on it. */
const MANY = 32_768
const A_TURN = 256

function bed(): { live: Live; force: (next: Judgement) => void } {
  let inForce = FIRST
  return {
    live: new Live(() => inForce),
    force: (next) => {
      inForce = next
    },
  }
}

it('what was judged by a policy that is no longer in force is judged as it is added', () => {
  const { live, force } = bed()
  const judged: Judgement[] = []
  live.add({ rejudge: (by) => judged.push(by) }, FIRST)
  expect(judged).toEqual([])
  force(SECOND)
  live.add({ rejudge: (by) => judged.push(by) }, FIRST)
  expect(judged).toEqual([SECOND])
})

it('judges a few at once before it returns, without those that have ended', () => {
  const { live, force } = bed()
  const judged: string[] = []
  const ended = { rejudge: () => void judged.push('ended') }
  live.add(ended, FIRST)
  live.add({ rejudge: () => judged.push('open') }, FIRST)
  live.remove(ended)
  force(SECOND)
  live.rejudge()
  expect(judged).toEqual(['open'])
})

it('judges many in slices, everybody else gets a turn between two, and none is left out', async () => {
  const { live, force } = bed()
  let judged = 0
  for (let index = 0; index < MANY; index++) live.add({ rejudge: () => void (judged += 1) }, FIRST)
  force(SECOND)
  live.rejudge()
  for (let turns = 1; turns <= MANY / A_TURN; turns++) {
    expect(judged).toBe(turns * A_TURN)
    await turn()
  }
  expect(judged).toBe(MANY)
})

it('entries that end while it goes on, by themselves or by being judged, do not make it miss others', async () => {
  const { live, force } = bed()
  const judged = new Set<number>()
  const all = Array.from({ length: A_TURN * 4 }, (_, index) => {
    const one: Open = {
      rejudge: () => {
        judged.add(index)
        live.remove(one)
      },
    }
    return one
  })
  for (const one of all) live.add(one, FIRST)
  force(SECOND)
  live.rejudge()
  live.remove(all[A_TURN * 3] as Open)
  for (let turns = 0; turns < 5; turns++) await turn()
  expect(judged.size).toBe(A_TURN * 4 - 1)
})

it('a second reload before the first is through: the last word on each is that of the policy in force', async () => {
  const { live, force } = bed()
  const last = new Map<number, Judgement>()
  for (let index = 0; index < A_TURN * 3; index++) live.add({ rejudge: (by) => void last.set(index, by) }, FIRST)
  force(SECOND)
  live.rejudge()
  force(THIRD)
  live.rejudge()
  for (let turns = 0; turns < 4; turns++) await turn()
  expect([...last.values()]).toEqual(Array.from({ length: A_TURN * 3 }, () => THIRD))
})

it('lets go of what can be let go of, and says why', () => {
  const { live } = bed()
  const heard: string[] = []
  live.add({ rejudge: () => heard.push('judged') }, FIRST)
  const ended: Open = { rejudge: () => undefined, interrupt: (why) => void heard.push(`ended ${why}`) }
  live.add(ended, FIRST)
  live.add({ rejudge: () => undefined, interrupt: (why) => heard.push(why) }, FIRST)
  live.remove(ended)
  live.interrupt('audit_unavailable')
  expect(heard).toEqual(['audit_unavailable'])
})
