// A token in the frames of HTTP/2 and the messages of gRPC: found at every boundary, and no stream that waits for an answer is held.

import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { type GrpcBed, startGrpcBed } from '../doors/support/grpc-bed.ts'
import { type Caller, messages } from '../doors/support/grpc-caller.ts'
import { eachCell } from './support/http2-bed.ts'
import { data, head, outcomeOn } from './support/http2-wire.ts'

// Put together at run time: no scanner of this repository should take it for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const PASSWORD = 'Correct/Horse+42'
const SECRETS = {
  env: { DB_PASSWORD: PASSWORD },
  extra: `secrets:
  - { match: any_token, only_to: [] }
  - { name: db-password, value: "\${DB_PASSWORD}", only_to: [] }`,
}
const HELD = { outcome: 'refused', reason: 'denied_by_rule', status: 403, security_flags: ['secret:github_token'] }
/** Where a token is cut in two. */
const CUTS = [1, 4, 7, 11, 19, 20, 30, TOKEN.length - 1]

eachCell((bed) => {
  it('in the head', async () => {
    const { decided, got, bytes } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('GET', '/', 'x-note', TOKEN)))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '403' })
    })
    expect(decided).toMatchObject([{ decision: 'deny', rule: 'secret:github_token' }])
    expect([got, bytes]).toEqual([[], ''])
  })

  it.each(['behind its head', 'of a declared length'])('in a body that comes at once, %s', async (how) => {
    const length = how === 'behind its head' ? [] : ['content-length', String(TOKEN.length)]
    const { decided, got, bytes } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('POST', '/', ...length), false), data(1, TOKEN, true))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '403' })
    })
    expect(decided).toMatchObject([
      { decision: 'deny', rule: 'secret:github_token', security_flags: ['secret:github_token'] },
    ])
    expect([got, bytes]).toEqual([[], ''])
  })

  it.each(CUTS)('[J03] cut in two behind %i characters', async (at) => {
    const { completed, got, bytes } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('POST', '/'), false))
      peer.write(data(1, `a ${TOKEN.slice(0, at)}`))
      await peer.alive()
      peer.write(data(1, `${TOKEN.slice(at)} b`, true))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '403' })
    })
    const [end] = completed
    expect([end?.['outcome'], end?.['status']]).toEqual(['refused', 403])
    expect(got).toEqual([])
    expect(bytes).not.toContain(TOKEN.slice(0, 12))
  })

  it('[J03] in frames of one byte', async () => {
    const { completed, got, bytes } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('POST', '/'), false))
      for (const unit of `a ${TOKEN}`) {
        peer.write(data(1, unit))
        await peer.alive()
      }
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '403' })
    })
    expect(completed).toMatchObject([HELD])
    expect(got).toEqual([])
    expect(bytes.replaceAll(/[\da-f]+\r\n([^]?)\r\n/g, '$1')).not.toContain(TOKEN.slice(0, 6))
  })

  it.each(['grpc-encoding', 'connect-content-encoding'])(
    'messages that are packed (%s) are not let out',
    async (name) => {
      const { decided, got, bytes } = await bed().attack(1, async (peer) => {
        const fields = ['content-type', 'application/grpc', 'te', 'trailers', name, 'gzip']
        peer.write(head(1, bed().asked('POST', '/', ...fields), false), data(1, '\x01\0\0\0\x01a', true))
        expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
      })
      expect(decided).toMatchObject([{ decision: 'deny', rule: 'secret:unreadable' }])
      expect([got, bytes]).toEqual([[], ''])
    },
  )

  it('in a trailer of a call of gRPC, which would be passed on', async () => {
    const { completed, got, bytes } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('POST', '/', 'content-type', 'application/grpc', 'te', 'trailers'), false))
      peer.write(data(1, '\0\0\0\0\x01a'))
      await peer.alive()
      peer.write(head(1, ['x-note', TOKEN]))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
    })
    expect(completed).toMatchObject([
      { outcome: 'refused', reason: 'denied_by_rule', grpc_status: status.PERMISSION_DENIED },
    ])
    expect(got).toEqual([])
    expect(bytes).not.toContain(TOKEN.slice(0, 6))
  })

  it.each(['behind its head', 'of a declared length'])(
    'in a trailer of a call of gRPC that comes at once with a body %s',
    async (how) => {
      const length = how === 'behind its head' ? [] : ['content-length', '6']
      const { decided, got, bytes } = await bed().attack(1, async (peer) => {
        const fields = ['content-type', 'application/grpc', 'te', 'trailers', ...length]
        peer.write(head(1, bed().asked('POST', '/', ...fields), false), data(1, '\0\0\0\0\x01a'))
        peer.write(head(1, ['x-note', TOKEN]))
        expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
      })
      expect(decided).toMatchObject([{ decision: 'deny', rule: 'secret:github_token' }])
      expect([got, bytes]).toEqual([[], ''])
    },
  )
}, SECRETS)

describe('gRPC', () => {
  let bed: GrpcBed
  let caller: Caller
  beforeAll(async () => {
    bed = await startGrpcBed('connect', SECRETS)
    caller = bed.caller()
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('a call that says a token is denied', async () => {
    bed.serve('/test.Allowed/Say', { unary: ({ request }, answer) => answer(null, request) })
    expect(await caller.unary('/test.Allowed/Say', `my ${TOKEN}`)).toMatchObject({ code: status.PERMISSION_DENIED })
  })

  it.each([
    ['an ordinary word', 'hello'],
    ['the beginning of a token', 'ghp_aB3dE5fG7'],
    ['all but the end of a known value', PASSWORD.slice(0, -1)],
    ['nothing', ''],
  ])('a message that waits for its answer is not held: %s', { timeout: 10_000 }, async (what, message) => {
    const path = `/test.Allowed/Echo${what.length}`
    bed.serve(path, {
      bidi: (call: ServerDuplexStream<string, string>) => {
        call.on('data', (each: string) => call.write(`${each}!`))
        call.on('end', () => call.end())
      },
    })
    const { call, ended } = caller.bidi(path)
    for (let round = 0; round < 3; round++) {
      call.write(message)
      expect(await messages(call, 1)).toEqual([`${message}!`])
    }
    call.end()
    call.resume()
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('a token in a later message ends the call', { timeout: 10_000 }, async () => {
    const heard: string[] = []
    bed.serve('/test.Allowed/Later', {
      bidi: (call: ServerDuplexStream<string, string>) => {
        call.on('error', () => undefined)
        call.on('data', (each: string) => {
          heard.push(each)
          call.write(each)
        })
      },
    })
    const { call, ended } = caller.bidi('/test.Allowed/Later')
    call.write('one')
    await messages(call, 1)
    call.write(`two ${TOKEN}`)
    call.resume()
    expect(await ended).toMatchObject({ code: status.INTERNAL })
    const { completed } = await bed.attempt('/test.Allowed/Later')
    expect(completed).toMatchObject({
      outcome: 'refused',
      reason: 'denied_by_rule',
      security_flags: ['secret:github_token'],
    })
    expect(heard).toEqual(['one'])
  })
})
