// Connections to origins are shared between clients: by name, scheme and port, never by address, and never what one of them is known by.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, CAPPED, HOST, refusalOf, startBed, TOKEN, TOKENED } from '../doors/support/bed.ts'
import { gate } from '../doors/support/gate.ts'
import { assertAccounted } from '../support/accounting.ts'
import { ok } from '../support/scripted-origin.ts'
import { called, WAYS } from './support/smuggling.ts'

const CREDENTIALS = `Proxy-Authorization: Basic ${Buffer.from(`robot:${TOKEN}`).toString('base64')}\r\n`

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })
  const connectionOf = (path: string): number | undefined => bed.origin.askedFor(path)[0]?.connection

  it('[B40] two names at one address: each has connections of its own, with its own SNI', async () => {
    const { ask, origin } = bed
    await ask('/one')
    await ask('/other', { host: CAPPED })
    await ask('/one/again')
    await ask('/other/again', { host: CAPPED })
    expect(connectionOf('/other')).not.toBe(connectionOf('/one'))
    expect([connectionOf('/one/again'), connectionOf('/other/again')]).toEqual([
      connectionOf('/one'),
      connectionOf('/other'),
    ])
    const names = way.tls ? [HOST, CAPPED] : [null, null]
    expect(['/one', '/other'].map((path) => origin.askedFor(path)[0]?.servername)).toEqual(names)
  })

  it.skipIf(way.door !== 'absolute')(
    '[B40] a connection that served one client is no permission for another',
    async () => {
      const { ask, origin } = bed
      expect((await ask('/known', { host: TOKENED, fields: CREDENTIALS })).status).toBe(200)
      const answer = await ask('/unknown', { host: TOKENED })
      expect([answer.status, refusalOf(answer).reason]).toEqual([407, 'proxy_auth'])
      expect(origin.askedFor('/unknown')).toEqual([])
    },
  )

  it.skipIf(way.door !== 'connect')('[B40] nor is one that it opened through CONNECT', async () => {
    const { open, request, refusal } = bed
    const known = await open(TOKENED, CREDENTIALS)
    known.write(request('/known', { host: TOKENED }))
    expect((await known.message()).status).toBe(200)
    known.socket.destroy()
    expect((await refusal(TOKENED)).status).toBe(407)
  })

  it('[B40] requests at the same time never share a connection', async () => {
    const { ask, origin } = bed
    const paths = Array.from({ length: 8 }, (_, index) => `/parallel/${index}`)
    const waiting: (() => void)[] = []
    for (const path of paths) {
      origin.on(path, async (wire) => {
        await new Promise<void>((resolve) => {
          waiting.push(resolve)
          if (waiting.length === paths.length) for (const go of waiting.toReversed()) go()
        })
        wire.write(ok(path))
      })
    }
    const answers = await Promise.all(paths.map((path) => ask(path)))
    expect(answers.map(({ body }) => body)).toEqual(paths)
    expect(new Set(paths.map(connectionOf)).size).toBe(paths.length)
  })

  it('[B40] a new policy: no connection of the old one is used again', async () => {
    const { ask, lab } = bed
    await ask('/before')
    lab.reload({})
    await ask('/behind')
    expect(connectionOf('/behind')).not.toBe(connectionOf('/before'))
  })

  it('[B40] nor one that was in use when the new policy came', async () => {
    const { ask, lab, open, origin, request } = bed
    const asked = gate()
    const reloaded = gate()
    origin.on('/during', async (wire) => {
      asked.open()
      await reloaded.opened
      wire.write(ok('during'))
    })
    const wire = await open()
    wire.write(request('/during'))
    await asked.opened
    lab.reload({})
    reloaded.open()
    expect((await wire.message()).body).toBe('during')
    await ask('/next')
    wire.socket.destroy()
    expect(connectionOf('/next')).not.toBe(connectionOf('/during'))
  })
})
