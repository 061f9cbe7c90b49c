// Tools that run with our rights are the system's own, whatever is first in PATH.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { userId } from '../../src/cli/user-id.ts'
import { kernelFamilies } from '../../src/jail/rules/firewall.ts'
import { installedIptables } from '../../src/jail/rules/backend.ts'
import { toolPath } from '../../src/jail/system-path.ts'
import { userOf } from '../../src/jail/verify/workload.ts'

const path = process.env['PATH']
let folder: string
let ran: string

/** What a hostile package puts where npx looks first. */
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-tools-'))
  ran = join(folder, 'ran')
  const bin = join(folder, 'node_modules/.bin')
  mkdirSync(bin, { recursive: true })
  for (const tool of ['id', 'iptables', 'ip6tables', 'iptables-nft', 'iptables-save', 'nft']) {
    writeFileSync(join(bin, tool), `#!/bin/sh\ntouch ${ran}\necho 0\n`)
    chmodSync(join(bin, tool), 0o755)
  }
  process.env['PATH'] = `${bin}:${path ?? ''}`
})
afterEach(() => {
  process.env['PATH'] = path
  rmSync(folder, { recursive: true, force: true })
})

it('a package on the way of npx is not asked who a user is', () => {
  expect(userId('root')).toBe(0)
  expect(userOf(0).gid).toBe(0)
  expect(existsSync(ran)).toBe(false)
})

it('nor is it taken for a firewall', () => {
  kernelFamilies().flatMap((family) => installedIptables(family))
  expect(existsSync(ran)).toBe(false)
})

it('keeps the absolute folders of the caller, and adds those of administrators', () => {
  const given = { PATH: '/opt/tools/bin:node_modules/.bin:.::/home/u/app/node_modules/.bin:/usr/bin' }
  expect(toolPath(given)).toBe('/opt/tools/bin:/usr/bin:/usr/sbin:/sbin')
})
