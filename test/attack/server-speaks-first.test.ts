// A client that waits for the server to begin (SSH, SMTP, MySQL): nothing is dialled for it, and it is let go in time.

import { createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { EVERY_WAY, eachWay, PLAIN_WAYS, TLS_WAYS } from './support/foreign.ts'

const SILENCE_MS = 60
/** Longer than what counts as a client that did not accept our certificate. */
const IDLE_MS = 2_100
const TOKEN = 'operator-token-for-the-metrics'

const ADMIN = { env: { ADMIN: TOKEN }, extra: `admin: { token: "\${ADMIN}" }` }
const SILENT = /^mcp_egress_connections_silent_total\{door="(\w+)"\} (\d+)$/gm

async function silentOnes(port: number): Promise<Record<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })
  return Object.fromEntries([...(await answer.text()).matchAll(SILENT)].map(([, door, count]) => [door, Number(count)]))
}

/** What greets whoever comes. */
let greeter: { readonly port: number; connections: number; close(): void }
beforeAll(async () => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    greeter.connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.write('220 mail.example ESMTP\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  greeter = {
    port: (server.address() as AddressInfo).port,
    connections: 0,
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
})
afterAll(() => greeter.close())

const OPTIONS = {
  ...ADMIN,
  env: { ...ADMIN.env, ROBOT_TOKEN: 'correct-horse-battery' },
  deadlines: { idleMs: IDLE_MS },
}

eachWay(
  PLAIN_WAYS,
  (bed, way) => {
    it('[G03] a silent client hears nothing and is let go: no attempt, counted', async () => {
      const { lab } = bed()
      lab.redirectTo({ address: '127.0.0.1', port: greeter.port })
      const wire = await bed().open()
      expect(await wire.closed()).toBe('end')
      expect(wire.text).toBe('')
      wire.socket.destroy()
      await assertAccounted(lab)
      expect(lab.recordsOf('request.decided')).toEqual([])
      expect([greeter.connections, bed().origin.connections()]).toEqual([0, 0])
      expect(await silentOnes(lab.adminPort)).toEqual({ [way.door]: 1 })
    })
  },
  { ...OPTIONS, peekDeadlines: { silenceMs: SILENCE_MS } },
)

eachWay(
  TLS_WAYS,
  (bed, way) => {
    it('[G03] the same in TLS', async () => {
      const { lab, open, origin } = bed()
      const wire = await open()
      expect(await wire.closed()).toBe('end')
      expect(wire.text).toBe('')
      wire.socket.destroy()
      await assertAccounted(lab)
      expect([lab.recordsOf('request.decided'), lab.recordsOf('tls.rejected')]).toEqual([[], []])
      expect(origin.connections()).toBe(0)
      expect(await silentOnes(lab.adminPort)).toEqual({ [way.door]: 1 })
    })
  },
  OPTIONS,
)

eachWay(EVERY_WAY, (bed) => {
  it('[P32] a client that begins after all, by the protocol it came for, is refused by name', async () => {
    const { lab, origin, open } = bed()
    const wire = await open()
    wire.write('SSH-2.0-OpenSSH_9.6\r\n')
    expect((await wire.message()).status).toBe(400)
    wire.socket.destroy()
    expect(await lab.waitFor('request.malformed', 1)).toMatchObject([{ code: 'SSH_BANNER' }])
    await lab.waitFor('request.completed', 1)
    expect(origin.connections()).toBe(0)
  })
})
