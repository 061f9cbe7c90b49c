// Bytes that wait, in order: held as they came where that costs what they count, copied side by side where it would cost more.

/** Pieces smaller than this are not worth an object each. */
const COPIED_BELOW_BYTES = 512
/** SECURITY: a piece is a view and keeps all that was read with it: no more than so many times its own length, or it is copied. */
const MAX_KEPT_PER_BYTE = 4
const BLOCK_BYTES = 16 * 1024

export class ByteQueue {
  #pieces: Buffer[] = []
  /** Copies are filled in here, behind `pieces`. */
  #block: Buffer | null = null
  #filled = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  push(data: Buffer): void {
    const first = this.#bytes === 0
    this.#bytes += data.length
    if (first) this.#pieces.push(detached(data))
    else if (data.length < COPIED_BELOW_BYTES || isHeavy(data)) this.#copy(data)
    else this.#add(data)
  }

  /** The next piece, of at most `limit` bytes; undefined where there is none. */
  shift(limit: number = Number.POSITIVE_INFINITY): Buffer | undefined {
    if (this.#pieces.length === 0) this.#closeBlock()
    const piece = this.#pieces[0]
    if (piece === undefined) return undefined
    if (piece.length > limit) {
      this.#pieces[0] = piece.subarray(limit)
      this.#bytes -= limit
      return piece.subarray(0, limit)
    }
    this.#pieces.shift()
    this.#bytes -= piece.length
    return piece
  }

  clear(): void {
    this.#pieces = []
    this.#block = null
    this.#filled = 0
    this.#bytes = 0
  }

  #add(piece: Buffer): void {
    this.#closeBlock()
    this.#pieces.push(piece)
  }

  #copy(data: Buffer): void {
    if (data.length >= BLOCK_BYTES) return this.#add(ownCopy(data))
    if (this.#filled + data.length > BLOCK_BYTES) this.#closeBlock()
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this.#filled += data.copy(this.#block, this.#filled)
  }

  #closeBlock(): void {
    if (this.#block === null || this.#filled === 0) return
    this.#pieces.push(detached(this.#block.subarray(0, this.#filled)))
    this.#block = null
    this.#filled = 0
  }
}

/** The bytes in a buffer that keeps little else. */
export function detached(data: Buffer): Buffer {
  return isHeavy(data) ? ownCopy(data) : data
}

/** Not from the pool of Node.js: a small piece of it would keep the whole pool, 64 KiB in Node 24. */
function ownCopy(data: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(data.length)
  data.copy(copy)
  return copy
}

function isHeavy(data: Buffer): boolean {
  return data.buffer.byteLength > data.length * MAX_KEPT_PER_BYTE
}
