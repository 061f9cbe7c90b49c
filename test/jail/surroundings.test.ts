// What is read off the system before a jail is made.

import { createServer, type Server } from 'node:net'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { boundSockets, surroundings } from '../../src/jail/run/surroundings.ts'

let folder: string
let server: Server

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-around-'))
  server = createServer()
  await new Promise<void>((resolve) => server.listen(join(folder, 'a socket.sock'), resolve))
})

afterEach(() => {
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

it('finds the sockets that have a path, each once, also with a space in it', () => {
  const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 17161 /run/systemd/private
0000000000000000: 00000003 00000000 00000000 0001 03 22345 /run/dbus/system_bus_socket
0000000000000000: 00000003 00000000 00000000 0001 03 22346 /run/dbus/system_bus_socket
0000000000000000: 00000002 00000000 00010000 0001 01 31337 /tmp/a socket.sock
0000000000000000: 00000002 00000000 00010000 0001 01 31338 @/tmp/.ICE-unix/1234
0000000000000000: 00000003 00000000 00000000 0001 03 22347
`
  expect(boundSockets(table)).toEqual(['/run/systemd/private', '/run/dbus/system_bus_socket', '/tmp/a socket.sock'])
})

it('reads a real socket of this machine, and the files of the trail', () => {
  mkdirSync(join(folder, 'private'))
  for (const name of ['audit.jsonl', 'audit.jsonl.lock', 'other.txt']) writeFileSync(join(folder, name), '')
  const around = surroundings({
    privateDirectory: join(folder, 'private'),
    auditPath: join(folder, 'audit.jsonl'),
    cwd: folder,
    environment: { XDG_RUNTIME_DIR: '/nowhere' },
  })
  expect(around.unixSockets).toContain(join(folder, 'a socket.sock'))
  expect(around.auditFiles).toEqual([join(folder, 'audit.jsonl'), join(folder, 'audit.jsonl.lock')])
  expect(around.runtimeDirectory).toBeNull()
})
