import { expect, it } from 'vitest'
import { Rejections } from '../../src/proxy/rejections.ts'

const MOST = 1_024

it('counts each host for itself', () => {
  const rejections = new Rejections()
  expect([rejections.count('a.test'), rejections.count('b.test'), rejections.count('a.test')]).toEqual([1, 1, 2])
})

it(`holds ${MOST} hosts and forgets the one not heard of for the longest time`, () => {
  const rejections = new Rejections()
  for (let at = 0; at < MOST; at++) rejections.count(`host-${at}.test`)
  expect(rejections.count('host-0.test')).toBe(2)
  rejections.count('one-more.test')
  expect(rejections.count('host-0.test')).toBe(3)
  expect(rejections.count('host-2.test')).toBe(2)
  expect(rejections.count('host-1.test'), 'the oldest').toBe(1)
})
