import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { FrameOutput } from '../../../src/proxy/http2/output.ts'

/** A socket that keeps its writes together, as TLS does, and can be stuck. */
class Wire extends Duplex {
  readonly writes: string[] = []
  #stuck: (() => void)[] | null = null

  stick(): void {
    this.#stuck = []
  }

  free(): void {
    const stuck = this.#stuck ?? []
    this.#stuck = null
    for (const done of stuck) done()
  }

  override _read(): void {
    // Nothing is ever read here.
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: () => void): void {
    this._writev([{ chunk, encoding }], done)
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: () => void): void {
    this.writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk)).toString())
    if (this.#stuck === null) done()
    else this.#stuck.push(done)
  }
}

function start(): { wire: Wire; output: FrameOutput; ends: () => number; unread: () => number } {
  const wire = new Wire()
  let ends = 0
  let unread = 0
  const output = new FrameOutput(
    wire as unknown as Socket,
    () => {
      ends += 1
    },
    () => {
      unread += 1
    },
  )
  return { wire, output, ends: () => ends, unread: () => unread }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('what is written in one turn is one write, and everybody is asked once before', async () => {
  const { wire, output, ends } = start()
  output.write(Buffer.from('a'))
  output.reply(Buffer.from('b'))
  output.flushLater()
  expect([wire.writes, ends()]).toEqual([[], 0])
  await turn()
  expect([wire.writes, ends()]).toEqual([['ab'], 1])
  output.write(Buffer.from('c'))
  await turn()
  expect(wire.writes).toEqual(['ab', 'c'])
})

it('streams wait behind 64 KiB, and are asked again when the socket has drained', async () => {
  const { wire, output, ends } = start()
  wire.stick()
  output.write(Buffer.alloc(64 * 1024 - 1))
  expect(output.blocked()).toBe(false)
  output.write(Buffer.alloc(1))
  expect(output.blocked()).toBe(true)
  await turn()
  expect(ends()).toBe(1)
  wire.free()
  await turn()
  await turn()
  expect([output.blocked(), ends()]).toEqual([false, 2])
})

it('replies that nobody reads are bounded, those that are read are not', async () => {
  const { wire, output, unread } = start()
  for (let i = 0; i < 100; i += 1) {
    output.reply(Buffer.alloc(4_096))
    await turn()
  }
  expect(unread()).toBe(0)
  wire.stick()
  output.write(Buffer.alloc(1))
  for (let i = 0; i < 64; i += 1) output.reply(Buffer.alloc(4_096))
  expect(unread()).toBe(0)
  output.reply(Buffer.alloc(1))
  expect(unread()).toBe(1)
})

it('the count of unread replies begins anew when the socket has drained', async () => {
  const { wire, output, unread } = start()
  for (let i = 0; i < 10; i += 1) {
    wire.stick()
    output.write(Buffer.alloc(100_000))
    for (let j = 0; j < 50; j += 1) output.reply(Buffer.alloc(4_096))
    await turn()
    wire.free()
    await turn()
    // Something is on its way whenever a reply is written.
    wire.stick()
    output.write(Buffer.alloc(1))
    await turn()
    wire.free()
  }
  expect(unread()).toBe(0)
})

it('nothing is written behind the end', async () => {
  const { wire, output } = start()
  wire.end()
  output.write(Buffer.from('late'))
  await turn()
  expect(wire.writes).toEqual([])
})
