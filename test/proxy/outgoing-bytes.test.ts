// What is written together, what passes as it is, and what never goes out.

import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { beforeEach, describe, expect, it } from 'vitest'
import { OutgoingBytes } from '../../src/proxy/outgoing-bytes.ts'

const RECORD = 16_384

let socket: Writable
let writes: Buffer[]
let out: OutgoingBytes
beforeEach(() => {
  // A peer that takes nothing.
  socket = new Writable({ highWaterMark: 10 * RECORD, write: () => undefined })
  writes = []
  const write = socket.write.bind(socket)
  socket.write = (chunk: string | Buffer, ...more: unknown[]): boolean => {
    writes.push(typeof chunk === 'string' ? Buffer.from(chunk, more[0] as BufferEncoding) : chunk)
    return write(chunk)
  }
  out = new OutgoingBytes(socket as unknown as Socket)
})

const add = (part: Buffer): boolean => {
  out.hold(part)
  return out.sendIfFull()
}
const written = (): string[] => writes.map((bytes) => bytes.toString('latin1'))

describe('bytes on their way out', () => {
  it('leave as one write: the head, in Latin-1, and what was added to it', () => {
    out.begin('HTTP/1.1 200 \u00e9\r\n\r\n')
    expect(add(Buffer.from('one '))).toBe(true)
    expect(add(Buffer.from('two'))).toBe(true)
    expect([out.held, written()]).toEqual([true, []])
    expect(out.send()).toBe(true)
    expect([out.held, written()]).toEqual([false, ['HTTP/1.1 200 \u00e9\r\n\r\none two']])
  })

  it('are a head alone, if that is all', () => {
    out.begin('HTTP/1.1 304 \r\n\r\n')
    out.send()
    expect(written()).toEqual(['HTTP/1.1 304 \r\n\r\n'])
  })

  it('go out unasked when a TLS record is full, and pass uncopied when they are one part', () => {
    const part = Buffer.alloc(RECORD, 'a')
    add(part)
    expect(writes).toEqual([part])
    expect(writes[0]).toBe(part)
    add(Buffer.alloc(RECORD - 1))
    expect(out.held).toBe(true)
    add(Buffer.alloc(1))
    expect(writes.map(({ length }) => length)).toEqual([RECORD, RECORD])
  })

  it('say when the socket has more than it should hold', () => {
    const answers = Array.from({ length: 10 }, () => add(Buffer.alloc(RECORD)))
    expect(answers).toEqual([...Array.from({ length: 9 }, () => true), false])
  })

  it('send nothing when nothing is held', () => {
    expect(out.send()).toBe(true)
    expect(writes).toEqual([])
  })

  it('are one chunk for all that leaves together, whatever sizes it came in', () => {
    out.begin('head ')
    for (const data of ['a', 'bb', 'c'.repeat(20)]) out.holdInChunk(Buffer.from(data))
    out.send()
    for (const data of ['dd', 'e']) out.holdInChunk(Buffer.from(data))
    out.hold(Buffer.from('last'))
    out.send()
    expect(written()).toEqual([`head 17\r\nabb${'c'.repeat(20)}\r\n`, '3\r\ndde\r\nlast'])
  })

  it('go out unasked when a chunk fills a TLS record', () => {
    out.holdInChunk(Buffer.alloc(RECORD - 1))
    expect([out.sendIfFull(), writes]).toEqual([true, []])
    out.holdInChunk(Buffer.alloc(1))
    out.sendIfFull()
    expect(writes.map(({ length }) => length)).toEqual([RECORD + '4000\r\n\r\n'.length])
    expect(out.held).toBe(false)
  })

  it('never go out once they were dropped, nor to a socket that is gone', () => {
    out.begin('head')
    add(Buffer.from('body'))
    out.holdInChunk(Buffer.from('chunk'))
    out.drop()
    expect([out.held, out.send()]).toEqual([false, true])
    out.begin('head')
    socket.destroy()
    expect(out.send()).toBe(true)
    expect(writes).toEqual([])
  })
})
