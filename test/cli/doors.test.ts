// What keeps a listener from being opened is said in words, before the system is asked.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { Doors, type Servers } from '../../src/cli/doors.ts'

it('a Unix socket in a folder that is not there is refused with the folder to make', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-doors-'))
  const listen = vi.fn<() => Promise<unknown>>(() =>
    Promise.resolve({ address: { kind: 'unix', path: '' }, close: () => undefined }),
  )
  const doors = new Doors({ listeners: { listen }, onPorts: () => undefined } as unknown as Servers)
  const wanted = (path: string) => ({
    proxy: [{ kind: 'unix' as const, path }],
    transparent: [],
    gateway: [],
    dns: [],
    admin: [],
  })
  try {
    const lacking = doors.change(wanted(join(folder, 'run', 'proxy.sock')))
    await expect(lacking).rejects.toThrow(`fix: mkdir ${join(folder, 'run')}`)
    expect(listen).not.toHaveBeenCalled()
    await doors.change(wanted(join(folder, 'proxy.sock')))
    expect(listen).toHaveBeenCalledTimes(1)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
