import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { EMPTY_CHAIN, GENESIS, readLine, seal } from '../../src/audit/chain.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3C'
const TIME = '2026-11-21T10:00:00.000Z'
const first = seal(DECIDED, INSTANCE, TIME, EMPTY_CHAIN)
const line = first.text.slice(0, -1)
const rehash = (body: string): string =>
  `${body},"hash":"${createHash('sha256').update(body, 'latin1').digest('hex')}"}`

describe('seal', () => {
  it('begins at 64 zeros and number 0, and hashes the bytes up to `,"hash":`', () => {
    const body = line.slice(0, line.lastIndexOf(',"hash":'))
    const hash = createHash('sha256').update(body).digest('hex')
    expect(JSON.parse(line)).toMatchObject({ seq: 0, prev_hash: GENESIS, hash, instance: INSTANCE, timestamp: TIME })
    expect(first.head).toEqual({ seq: 0, hash })
  })

  it('goes on from the record before', () => {
    const second = seal(COMPLETED, INSTANCE, TIME, first.head)
    expect(JSON.parse(second.text)).toMatchObject({ seq: 1, prev_hash: first.head.hash, hash: second.head.hash })
  })
})

describe('readLine', () => {
  it('reads back what was sealed', () => {
    expect(readLine(line)).toEqual({ kind: 'record', instance: INSTANCE, head: first.head })
  })

  it('every beginning of a record is torn, and so is one that ends in NULs', () => {
    for (let length = 0; length < line.length; length++) {
      expect(readLine(line.slice(0, length))).toEqual({ kind: 'torn' })
      expect(readLine(line.slice(0, length) + '\0'.repeat(100))).toEqual({ kind: 'torn' })
    }
  })

  it.each([
    ['an edited record', line.replace('"allow"', '"deny"'), 'forged'],
    ['an edited hash', line.replace(/[0-9a-f]"\}$/, (end) => `${end[0] === '0' ? '1' : '0'}"}`), 'forged'],
    ['a byte that only a Latin-1 reader takes for the same', line.replace('GET', 'G\xc9T'), 'forged'],
    ['a right hash over something else', rehash('{"a":1'), 'forged'],
    [
      'a right hash over another version',
      rehash(line.slice(0, line.lastIndexOf(',"hash":')).replace('audit/1', 'audit/2')),
      'forged',
    ],
    [
      'a right hash over a number that is none',
      rehash(line.slice(0, line.lastIndexOf(',"hash":')).replace('"seq":0', '"seq":-1')),
      'forged',
    ],
    ['other JSON', '{"level":30,"msg":"hello"}', 'foreign'],
    ['text', 'root:x:0:0:root:/root:/bin/bash', 'foreign'],
  ])('%s', (_case, text, kind) => {
    expect(readLine(text)).toEqual({ kind })
  })
})
