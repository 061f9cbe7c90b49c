// The sink on standard output, on pipes of a test: what a reader gets, and one that does not read.

import { execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parseShipped, type ShippedRecord } from '../../src/audit/sink-record.ts'
import { stdoutDestination } from '../../src/audit/sink-stdout.ts'
import { sinkTrail } from './support/sink-trail.ts'

const trail = sinkTrail()
afterAll(() => trail.close())
const records = (count: number): ShippedRecord[] =>
  trail.write(count).map((line) => parseShipped(line) as ShippedRecord)
const NEVER = new AbortController().signal
const linesOf = (batch: readonly ShippedRecord[]): string => batch.map(({ text }) => `${text}\n`).join('')

function pipe(name: string): { readEnd: number; writeEnd: number } {
  const path = join(trail.folder, name)
  execFileSync('mkfifo', [path])
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { readEnd, writeEnd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) }
}

describe('standard output', () => {
  it('gets the lines as they are, in a file', async () => {
    const path = join(trail.folder, 'out')
    const descriptor = openSync(path, 'a')
    const to = stdoutDestination(descriptor)
    const batch = records(3)
    expect(await to.deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    to.close()
    closeSync(descriptor)
    expect(readFileSync(path, 'latin1')).toBe(linesOf(batch))
  })

  it('that nobody reads holds up nothing, and goes on in the middle of its line', async () => {
    const { readEnd, writeEnd } = pipe('full')
    const to = stdoutDestination(writeEnd)
    const batch = records(1_000)
    // More than a pipe holds.
    expect(linesOf(batch).length).toBeGreaterThan(200_000)
    let turns = 0
    const turning = setInterval(() => (turns += 1), 1)
    expect(await to.deliver(batch, AbortSignal.timeout(200))).toMatchObject({ kind: 'failed' })
    clearInterval(turning)
    expect(turns).toBeGreaterThan(20)
    const parts: Buffer[] = []
    const again = to.deliver(batch, NEVER)
    const buffer = Buffer.alloc(65_536)
    const wanted = linesOf(batch).length
    const got = (): number => parts.reduce((sum, part) => sum + part.length, 0)
    const deadline = performance.now() + 10_000
    while (got() < wanted && performance.now() < deadline) {
      await new Promise((resolve) => setImmediate(resolve))
      try {
        const count = readSync(readEnd, buffer)
        parts.push(Buffer.from(buffer.subarray(0, count)))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      }
    }
    expect(await again).toEqual({ kind: 'accepted' })
    expect(Buffer.concat(parts).toString('latin1')).toBe(linesOf(batch))
    closeSync(readEnd)
    closeSync(writeEnd)
  })

  it('that was closed is a failure, and not the end of the process', async () => {
    const { readEnd, writeEnd } = pipe('closed')
    closeSync(readEnd)
    expect(await stdoutDestination(writeEnd).deliver(records(1), NEVER)).toMatchObject({
      kind: 'failed',
      why: expect.stringContaining('EPIPE'),
    })
    closeSync(writeEnd)
  })

  it('of a process that has looked at it does not block, which this sink relies on', async () => {
    const script = `process.stdout.on('error', () => {})
      const { write } = require('node:fs')
      const more = () => write(1, Buffer.alloc(65536), (error) => error ? (console.error(error.code), process.exit(0)) : more())
      more()`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.pause()
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    await new Promise((resolve) => child.once('exit', resolve))
    expect(said.trim()).toBe('EAGAIN')
    child.stdout.destroy()
  })
})
