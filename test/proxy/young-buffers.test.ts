// The young generation is collected for so many bytes of bodies, and not before.

import { constants, PerformanceObserver } from 'node:perf_hooks'
import { expect, it } from 'vitest'
import { bodyBytesReceived } from '../../src/proxy/young-buffers.ts'

const MIB = 1_024 * 1_024

it('collects what 4 MiB of bodies left behind, before V8 marks the whole heap for it', async () => {
  const forced: number[] = []
  const observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries() as unknown as { detail: { kind: number; flags: number } }[])
      if ((detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0) forced.push(detail.kind)
  })
  observer.observe({ entryTypes: ['gc'] })
  const seen = async (): Promise<number[]> => {
    await new Promise((resolve) => setImmediate(resolve))
    return forced
  }
  for (let at = 0; at < 3; at += 1) bodyBytesReceived(MIB)
  expect(await seen()).toEqual([])
  bodyBytesReceived(MIB)
  await expect.poll(seen).toEqual([constants.NODE_PERFORMANCE_GC_MINOR])
  bodyBytesReceived(MIB)
  expect(await seen()).toEqual([constants.NODE_PERFORMANCE_GC_MINOR])
  observer.disconnect()
})

it('leaves no function behind that scripts could call', () => {
  expect((globalThis as { gc?: unknown }).gc).toBeUndefined()
})
