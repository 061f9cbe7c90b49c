// Compresses closed segments in the background: one at a time, at half speed, and the plain file goes only when the other reads back.

import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { compressedPath, segmentsOf } from './segments.ts'

/** Compressed in one go; between two of them others have the processor. */
const CHUNK_BYTES = 262_144
/** How long to wait while the trail itself needs the disk. */
const WAIT_MS = 500

export class Compressor {
  readonly #active: string
  readonly #onNotice: (text: string) => void
  readonly #stopped = new AbortController()
  #mayRun: () => boolean = () => true
  #running = false
  #again = false

  /** `active`: the active file of the trail. */
  constructor(active: string, onNotice: (text: string) => void) {
    this.#active = active
    this.#onNotice = onNotice
  }

  /** There may be a segment to compress. `mayRun`: asked between chunks. */
  wake(mayRun: () => boolean = this.#mayRun): void {
    this.#mayRun = mayRun
    this.#again = true
    if (!this.#running) void this.#run()
  }

  /** Leaves off; what was begun is begun anew at the next start. */
  stop(): void {
    this.#stopped.abort()
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#again && !this.#stopped.signal.aborted) {
      this.#again = false
      try {
        for (const { path, compressed, firstSeq } of segmentsOf(this.#active)) {
          if (!compressed && firstSeq !== null) await this.#compress(path)
        }
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        // ENOENT: pruned meanwhile.
        if (!this.#stopped.signal.aborted && code !== 'ENOENT')
          this.#onNotice(`a closed audit file stays plain: ${String(error)}`)
      }
    }
    this.#running = false
  }

  async #compress(plain: string): Promise<void> {
    const packed = compressedPath(plain)
    const temporary = `${packed}.tmp`
    const signal = this.#stopped.signal
    await fs.promises.rm(temporary, { force: true })
    const own = createHash('sha256')
    const source = this.#chunks(plain, (chunk) => own.update(chunk))
    await pipeline(source, createGzip(), fs.createWriteStream(temporary, { mode: 0o600, flags: 'wx', flush: true }), {
      signal,
    })
    const readBack = createHash('sha256')
    const check = this.#chunks(temporary, () => undefined)
    await pipeline(check, createGunzip(), readBack, { signal })
    // SECURITY: these are the only records there are of what left; a copy that was not read is no copy.
    if (readBack.digest('hex') !== own.digest('hex')) throw new Error(`${temporary} does not read back as ${plain}`)
    await fs.promises.rename(temporary, packed)
    await syncFolderOf(packed)
    await fs.promises.rm(plain)
  }

  async *#chunks(path: string, onChunk: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
    const stream = fs.createReadStream(path, { highWaterMark: CHUNK_BYTES })
    let started = performance.now()
    for await (const chunk of stream) {
      onChunk(chunk as Buffer)
      yield chunk as Buffer
      while (!this.#mayRun()) await pause(WAIT_MS, undefined, { signal: this.#stopped.signal, ref: false })
      await pause(performance.now() - started, undefined, { signal: this.#stopped.signal, ref: false })
      started = performance.now()
    }
  }
}

async function syncFolderOf(file: string): Promise<void> {
  const handle = await fs.promises.open(dirname(file), 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
