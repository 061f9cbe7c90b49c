// An allowed origin that turns on us and on the next client: its bad answers are 502 or broken off, and its connection is used no more.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, refusalOf, startBed } from '../doors/support/bed.ts'
import { gate } from '../doors/support/gate.ts'
import { assertAccounted } from '../support/accounting.ts'
import type { AuditRecord } from '../support/lab.ts'
import { ok, type Script } from '../support/scripted-origin.ts'
import type { Wire } from '../support/wire.ts'
import { BROKEN_BODIES, CHUNKED, CUT, type End, NO_ANSWER, NO_HEAD, OK } from './support/hostile-answers.ts'
import { called, WAYS } from './support/smuggling.ts'

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })
  let cases = 0
  /** A path of its own, so that the records and the requests of one case are its own. */
  const played = (script: Script): string => {
    cases += 1
    const path = `/hostile/${cases}`
    bed.origin.on(path, script)
    return path
  }
  /** The next request is served, and over another connection than `path` was. */
  const dialsAnew = async (path: string): Promise<void> => {
    const { ask, origin } = bed
    expect((await ask(`${path}/next`)).body).toBe('ok')
    expect(origin.askedFor(path)).toHaveLength(1)
    expect(origin.askedFor(`${path}/next`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
  }
  const end = (wire: Wire, how: End): unknown => (how === 'ends' ? wire.socket.end() : reset(wire))

  describe('no answer', () => {
    it.each(NO_ANSWER)('%s is 502', async (_name, bytes) => {
      const { open, request, attempt, origin } = bed
      const over = gate()
      const path = played(async (wire) => {
        wire.write(bytes)
        await wire.closed()
        over.open()
      })
      const wire = await open()
      wire.write(request(path))
      let answer = await wire.message()
      while (answer.status < 200) answer = await wire.message()
      expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
      // The client has done nothing wrong: its connection goes on.
      wire.write(request(`${path}/same-client`))
      expect((await wire.message()).body).toBe('ok')
      wire.socket.destroy()
      await over.opened
      expect((await attempt(path)).completed).toMatchObject({
        outcome: 'failed',
        reason: 'upstream_malformed',
        status: 502,
        bytes_received: 0,
      })
      await dialsAnew(path)
      expect(origin.askedFor(`${path}/same-client`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
    })

    it.each(NO_HEAD)('[I12] the connection that is reset %s is 502', async (_name, bytes) => {
      const path = played((wire) => void (bytes === '' ? reset(wire) : wire.socket.write(bytes, () => reset(wire))))
      const { open, request, attempt } = bed
      const wire = await open()
      wire.write(request(path, { method: 'POST', fields: 'Content-Length: 0\r\n' }))
      let answer = await wire.message()
      while (answer.status < 200) answer = await wire.message()
      wire.socket.destroy()
      expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_unreachable'])
      expect((await attempt(path)).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_unreachable' })
      await dialsAnew(path)
    })

    it.each(NO_HEAD)('[I12] the connection that ends %s is 502', async (_name, bytes) => {
      const path = played((wire) => void wire.socket.end(bytes))
      const { open, request, attempt } = bed
      const wire = await open()
      wire.write(request(path, { method: 'POST', fields: 'Content-Length: 0\r\n' }))
      let answer = await wire.message()
      while (answer.status < 200) answer = await wire.message()
      wire.socket.destroy()
      expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_unreachable'])
      expect((await attempt(path)).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_unreachable' })
      await dialsAnew(path)
    })
  })

  describe('an answer that is broken off', () => {
    it.each(BROKEN_BODIES)('%s', async (_name, bytes) => {
      const path = played(async (wire) => {
        wire.write(bytes)
        await wire.closed()
      })
      expect(await brokenOff(path)).toMatchObject({
        outcome: 'upstream_aborted',
        reason: 'upstream_malformed',
        status: 200,
      })
    })

    for (const how of ['ends', 'is reset'] as const) {
      it.each(CUT.filter(([, , ends]) => ends.includes(how)))(
        `[I12] the connection ${how} %s`,
        async (_name, bytes) => {
          const read = gate()
          const path = played(async (wire) => {
            wire.write(bytes)
            await read.opened
            end(wire, how)
          })
          expect(await brokenOff(path, read.open)).toMatchObject({
            outcome: 'upstream_aborted',
            reason: 'upstream_unreachable',
            status: 200,
          })
        },
      )
    }

    /** Answers the end of the attempt. `half` is called when the client has the first half of the answer. */
    async function brokenOff(path: string, half: (() => void) | null = null): Promise<AuditRecord> {
      const { open, request, attempt } = bed
      const wire = await open()
      wire.write(request(path))
      if (half !== null) {
        await wire.until('half', () => wire.text.includes('half'))
        half()
      }
      // libuv can report a reset that arrives with the last data as an end in order: the text is what tells.
      await wire.closed()
      const { body, promised } = bodyOf(wire.text)
      expect(body, 'looks complete').not.toMatch(promised)
      const { completed } = await attempt(path)
      await dialsAnew(path)
      return completed
    }
  })

  describe('more than an answer', () => {
    const POISON = ok('poison')

    it.each<[string, string, string, number, string]>([
      ['two answers at once', 'GET', ok('mine') + POISON, 200, 'mine'],
      ['a byte too many', 'GET', `${ok('mine')}!`, 200, 'mine'],
      ['an empty line too many', 'GET', `${ok('mine')}\r\n`, 200, 'mine'],
      ['a body longer than it said', 'GET', `${ok('mine')}poison`, 200, 'mine'],
      ['an answer behind the last chunk', 'GET', `${CHUNKED}4\r\nmine\r\n0\r\n\r\n${POISON}`, 200, 'mine'],
      ['a HEAD with a body', 'HEAD', POISON, 200, ''],
      ['a HEAD with chunks', 'HEAD', `${CHUNKED}6\r\npoison\r\n0\r\n\r\n`, 200, ''],
      ['a 204 with a body', 'GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison', 204, ''],
      ['a 204 with chunks', 'GET', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 204, ''],
      ['a 204 that claims chunks', 'GET', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n', 204, ''],
      ['a 304 with a body', 'GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison', 304, ''],
      ['a 304 with an answer behind it', 'GET', `HTTP/1.1 304 Not Modified\r\n\r\n${POISON}`, 304, ''],
    ])('[B37] %s: the client gets the first, nobody the rest', async (_name, method, bytes, status, body) => {
      const { open, request, attempt } = bed
      const over = gate()
      const path = played(async (wire) => {
        wire.write(bytes)
        await wire.closed()
        over.open()
      })
      const wire = await open()
      wire.write(request(path, { method }))
      const answer = await wire.message(method === 'HEAD')
      expect([answer.status, answer.body]).toEqual([status, body])
      await over.opened
      wire.write(request(`${path}/same-client`))
      expect((await wire.message()).body).toBe('ok')
      expect(wire.text).toBe('')
      wire.socket.destroy()
      expect((await attempt(path)).completed).toMatchObject({ outcome: 'completed', status })
      await dialsAnew(path)
    })

    it('[B37] a second answer that comes when the first was long read closes the connection it came on', async () => {
      const { ask } = bed
      const read = gate()
      const over = gate()
      const path = played(async (wire) => {
        wire.write(ok('mine'))
        await read.opened
        wire.write(POISON)
        await wire.closed()
        over.open()
      })
      expect((await ask(path)).body).toBe('mine')
      read.open()
      await over.opened
      await dialsAnew(path)
    })

    it('[B37] no length, although the connection could go on: the close is the end, and it is not used again', async () => {
      const { open, request } = bed
      const path = played((wire) => void wire.socket.end(`${OK}Connection: keep-alive\r\n\r\nuntil the close${POISON}`))
      const wire = await open()
      wire.write(request(path))
      const answer = await wire.message()
      expect([answer.status, answer.body]).toEqual([200, `until the close${POISON}`])
      wire.socket.destroy()
      await dialsAnew(path)
    })

    it('[B37] an answer with zeros before its length says it in plain decimal to the client', async () => {
      const { ask } = bed
      const path = played((wire) => wire.write(`${OK}Content-Length: 010\r\n\r\n0123456789`))
      const answer = await ask(path)
      expect([answer.body, answer.fields]).toEqual(['0123456789', [['Content-Length', '10']]])
    })
  })
})

/** What came behind the head, and what the head promised that it would be in the end. */
function bodyOf(text: string): { body: string; promised: RegExp } {
  const at = text.indexOf('\r\n\r\n')
  if (at < 0) return { body: text, promised: /^HTTP/ }
  const head = text.slice(0, at)
  if (head.includes('Content-Length: 9')) return { body: text.slice(at + 4), promised: /^[^]{9}$/ }
  expect(head).toContain('Transfer-Encoding: chunked')
  return { body: text.slice(at + 4), promised: /(?:^|\r\n)0\r\n/ }
}

function reset(wire: Wire): void {
  // Under TLS the reset is that of the TCP connection below it.
  const parent = Reflect.get(wire.socket, '_parent') as typeof wire.socket | null | undefined
  void (parent ?? wire.socket).resetAndDestroy()
}
