import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import type { RequestMalformed } from '../../src/core/record.ts'
import { createRedactor } from '../../src/core/redact.ts'
import type { Attempt } from '../../src/proxy/attempt.ts'
import type { Deps } from '../../src/proxy/deps.ts'
import { recordMalformed } from '../../src/proxy/malformed.ts'

const redactor = createRedactor(Buffer.alloc(32, 7))
const TOKEN = ['gh', 'p_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8'].join('')

function allRecorded(text: string, decided: boolean): RequestMalformed[] {
  const events: RequestMalformed[] = []
  const trail = { append: (event: RequestMalformed) => Promise.resolve(void events.push(event)) }
  const input = { reason: 'malformed', code: 'CODE', bytes: Buffer.from(text, 'latin1') } as const
  recordMalformed({ requestId: 'id', decided } as Attempt, input, { trail, redactor } as unknown as Deps)
  return events
}

function recorded(text: string): RequestMalformed {
  const [event] = allRecorded(text, true)
  if (event === undefined) throw new Error('nothing was recorded')
  return event
}

it('nothing, where the decision that it belongs to could not be written', () => {
  expect(allRecorded('GET / HTTP/1.1\r\n\r\n', false)).toEqual([])
})

describe('what is kept of bytes that are no request [K15] [K17]', () => {
  it('the line, the names and the lengths', () => {
    const event = recorded('GET /a?token=b&c=d HTTP/1.1\r\nHost : x\r\nX bad: yz\r\nno colon\r\n: \r\n\r\n')
    expect(event).toMatchObject({
      code: 'CODE',
      request_line: `GET /a?token=${redactor.fingerprint('b')}&c=d HTTP/1.1`,
    })
    expect(event.headers).toEqual([
      { name: 'Host ', length: 3 },
      { name: 'X bad', length: 4 },
    ])
  })

  it('nothing of what follows the empty line', () => {
    const event = recorded('GET / HTTP/1.1\r\nbad\u0000: x\r\n\r\n{"a": "b"}\r\nmy words: here\r\n')
    expect(event.headers).toEqual([{ name: 'bad\u0000', length: 3 }])
    expect(recorded('GET / HTTP/1.1\nA: b\n\nc: d\n').headers).toEqual([{ name: 'A', length: 2 }])
  })

  // Lengths count what stands behind the colon, up to the line feed.
  it('of a folded line a fingerprint: it is the value of the line before', () => {
    const event = recorded('GET / HTTP/1.1\r\nAuthorization: Basic\r\n dXNlcjpw:YXNz\r\n\r\n')
    expect(event.headers[1]).toEqual({ name: redactor.fingerprint(' dXNlcjpw'), length: 5 })
  })

  it('of a long name its beginning, once it is redacted', () => {
    const event = recorded(`GET / HTTP/1.1\r\n${'x'.repeat(50)}-${TOKEN}: y\r\n\r\n`)
    expect(event.headers[0]?.name).toBe(`${'x'.repeat(50)}-${redactor.fingerprint(TOKEN)}`.slice(0, 64))
  })

  it('of bytes that do not begin with a request line their length and fingerprint', () => {
    const event = recorded(`\u0000${TOKEN}`)
    expect(event).toMatchObject({ request_line: null, headers: [], length: TOKEN.length + 1 })
    expect(event.fingerprint).toBe(redactor.fingerprint(Buffer.from(`\u0000${TOKEN}`, 'latin1')))
  })
})
