// Heads of a size that no server wants: refused at the bound, and what follows is neither kept nor read for long.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { readUntil } from '../support/clients.ts'
import { anonymous, type LoadBed, type Memory, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const GROWTH_ALLOWED = 64 * MIB

let bed: LoadBed
let before: Memory
let resident: number
beforeAll(async () => {
  bed = await startLoadBed()
  await bed.servesOthers()
  before = await bed.memory()
  resident = anonymous(bed.proxy.pid)
})
afterAll(() => bed?.close())

it.each<[string, string, (make: LoadBed['request']) => string]>([
  ['10,000 fields', 'TOO_MANY_HEADERS', (make) => make('/x', 'A: b\r\n'.repeat(10_000))],
  ['201 fields', 'TOO_MANY_HEADERS', (make) => make('/x', 'A: b\r\n'.repeat(201))],
  ['a field of 1 MiB', 'HEAD_TOO_LARGE', (make) => make('/x', `A: ${'b'.repeat(MIB)}\r\n`)],
  ['a field name of 1 MiB', 'HEAD_TOO_LARGE', (make) => make('/x', `${'b'.repeat(MIB)}: a\r\n`)],
  ['a target of 1 MiB', 'HEAD_TOO_LARGE', (make) => make(`/${'a'.repeat(MIB)}`)],
  ['100 MiB of fields', 'HEAD_TOO_LARGE', (make) => make('/x', `A: ${'b'.repeat(1_000)}\r\n`.repeat(104_000))],
])('[I05] %s: 431, recorded as %s', async (_name, code, head) => {
  const socket = await bed.open()
  const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
  socket.write(head(bed.request))
  expect(await answer).toMatch(/^HTTP\/1\.1 431 /)
  socket.destroy()
  await bed.servesOthers()
  expect(bed.proxy.records().findLast(({ event }) => event === 'request.malformed')).toMatchObject({ code })
  expect(anonymous(bed.proxy.pid) - resident).toBeLessThan(GROWTH_ALLOWED)
})

it('[I05] 50 clients that send 8 MiB of fields each at once', async () => {
  const flood = bed.request('/x', `A: ${'b'.repeat(1_000)}\r\n`.repeat(8_000))
  await times(50, async () => {
    const socket = await bed.open('127.0.0.2')
    const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
    socket.write(flood)
    expect(await answer).toMatch(/^HTTP\/1\.1 431 /)
    socket.destroy()
  })
  await bed.servesOthers()
  report({ grown: (anonymous(bed.proxy.pid) - resident) / MIB })
  expect(anonymous(bed.proxy.pid) - resident).toBeLessThan(GROWTH_ALLOWED)
})

it('[I05] nothing of it is left but the records', async () => {
  await bed.recovers(before)
  const records = await bed.accounted()
  expect(records.filter(({ event }) => event === 'request.malformed').length).toBeGreaterThan(50)
})
