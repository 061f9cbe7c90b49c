// Reads HTTP/2 field blocks (RFC 7541) of hostile peers; what writes them stands in hpack-encoder.ts.

import { Buffer } from 'node:buffer'
import { decodeHuffman, HUFFMAN_INVALID, HUFFMAN_TOO_LONG } from './hpack-huffman.ts'
import { DEFAULT_TABLE_BYTES, DynamicTable, fieldBytes, STATIC_TABLE } from './hpack-table.ts'
import type { RawHeaders } from './http1.ts'

export { HpackEncoder } from './hpack-encoder.ts'

/**
 * `maxListBytes` counts as `listBytes` does, `maxFields` counts fields; over them the block is still read to its end.
 * `maxStringBytes` is of one name or value, decoded; over it the connection is lost, so it wants to be the larger.
 */
export interface HpackLimits {
  readonly maxListBytes: number
  readonly maxFields: number
  readonly maxStringBytes: number
}

/** All are connection errors of type COMPRESSION_ERROR (RFC 9113 §4.3); `HPACK_WORK` and `HPACK_STRING_TOO_LONG` are limits of ours. */
export type HpackFault =
  | 'HPACK_INDEX'
  | 'HPACK_INTEGER'
  | 'HPACK_HUFFMAN'
  | 'HPACK_TRUNCATED'
  | 'HPACK_TABLE_SIZE'
  | 'HPACK_STRING_TOO_LONG'
  | 'HPACK_WORK'

export type HpackDecoded =
  | {
      readonly kind: 'fields'
      readonly fields: RawHeaders
      /** RFC 9113 §6.5.2: octets of name and value and 32 more, of every field, also of those left out. */
      readonly listBytes: number
      /** Over `maxListBytes` or `maxFields`: `fields` is cut short, the dynamic table is in step. */
      readonly tooLarge: boolean
    }
  | { readonly kind: 'bad'; readonly code: HpackFault }

/**
 * A block may take this many times the list limit before it is given up. SECURITY: one octet can stand for a field of 4 KB
 * (the HPACK bomb), so the octets received bound nothing.
 */
const WORK_FACTOR = 4

/** Continuation octets of an integer, seven bits each (§5.1): 2^28 is more than any length or index here. */
const MAX_CONTINUATION_BITS = 28

/** §4.2: the smallest size since the last block, and the final one. */
const MAX_SIZE_UPDATES = 2

const INDEXED = 0x80
const INCREMENTAL_INDEXING = 0x40
const SIZE_UPDATE = 0x20
const HUFFMAN = 0x80

/** Where Huffman strings are decoded before they become one; it grows to the longest that the limits let through. */
let scratch = Buffer.allocUnsafeSlow(4096)

/** Reads the blocks of one direction of one connection. */
export class HpackDecoder {
  readonly #table: DynamicTable
  readonly #maxTableBytes: number
  #at = 0
  #fault: HpackFault = 'HPACK_TRUNCATED'

  /** `maxTableBytes`: the SETTINGS_HEADER_TABLE_SIZE that we sent. */
  constructor(maxTableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#maxTableBytes = maxTableBytes
    // The peer may use the default until it has read our SETTINGS.
    this.#table = new DynamicTable(Math.max(maxTableBytes, DEFAULT_TABLE_BYTES))
  }

  /**
   * Reads one whole field block, CONTINUATIONs joined. After `bad` the table is out of step: decode no more. Names and
   * values may hold any octet and a name may be empty: what a field may look like is RFC 9113 §8's, not looked at here.
   */
  decode(block: Buffer, limits: HpackLimits): HpackDecoded {
    this.#at = 0
    if (!this.#readSizeUpdates(block)) return bad(this.#fault)
    const fields: string[] = []
    let listBytes = 0
    let tooLarge = false
    while (this.#at < block.length) {
      const first = block[this.#at] as number
      if (isSizeUpdate(first)) return bad('HPACK_TABLE_SIZE')
      const indexed = first >= INDEXED
      const incremental = first >= INCREMENTAL_INDEXING && !indexed
      const index = this.#integer(block, indexed ? 7 : incremental ? 6 : 4)
      if (index === undefined) return bad(this.#fault)
      const name = index === 0 && !indexed ? this.#string(block, limits.maxStringBytes) : this.#nameAt(index)
      if (name === undefined) return bad(this.#fault)
      const value = indexed ? this.#valueAt(index) : this.#string(block, limits.maxStringBytes)
      if (value === undefined) return bad(this.#fault)
      if (incremental) this.#table.insert(name, value)

      listBytes += fieldBytes(name, value)
      if (listBytes > WORK_FACTOR * limits.maxListBytes) return bad('HPACK_WORK')
      tooLarge = listBytes > limits.maxListBytes || fields.length === 2 * limits.maxFields
      if (!tooLarge) fields.push(name, value)
    }
    return { kind: 'fields', fields, listBytes, tooLarge }
  }

  /** False where one is broken, over what we offered, or one too many. */
  #readSizeUpdates(block: Buffer): boolean {
    for (let updates = 0; this.#at < block.length && isSizeUpdate(block[this.#at] as number); updates++) {
      const bytes = this.#integer(block, 5)
      if (bytes === undefined) return false
      if (bytes > this.#maxTableBytes || updates === MAX_SIZE_UPDATES) {
        this.#failed('HPACK_TABLE_SIZE')
        return false
      }
      this.#table.resize(bytes)
    }
    return true
  }

  #nameAt(index: number): string | undefined {
    const name =
      index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1]?.[0] : this.#table.nameAt(index - STATIC_TABLE.length - 1)
    return name ?? this.#failed('HPACK_INDEX')
  }

  /** For an index that has a name. */
  #valueAt(index: number): string | undefined {
    return index <= STATIC_TABLE.length
      ? STATIC_TABLE[index - 1]?.[1]
      : this.#table.valueAt(index - STATIC_TABLE.length - 1)
  }

  /** §5.1. The first octet is there; its bits before the prefix are not the integer's. Undefined with `#fault` set, as all here. */
  #integer(block: Buffer, prefixBits: number): number | undefined {
    const full = (1 << prefixBits) - 1
    let value = (block[this.#at++] as number) & full
    if (value < full) return value
    for (let shift = 0; shift < MAX_CONTINUATION_BITS; shift += 7) {
      if (this.#at === block.length) return this.#failed('HPACK_TRUNCATED')
      const octet = block[this.#at++] as number
      value += (octet & 0x7f) << shift
      if (octet < 0x80) return value
    }
    return this.#failed('HPACK_INTEGER')
  }

  /** §5.2. */
  #string(block: Buffer, maxBytes: number): string | undefined {
    if (this.#at === block.length) return this.#failed('HPACK_TRUNCATED')
    const huffman = (block[this.#at] as number) >= HUFFMAN
    const length = this.#integer(block, 7)
    if (length === undefined) return undefined
    const start = this.#at
    const end = start + length
    if (end > block.length) return this.#failed('HPACK_TRUNCATED')
    this.#at = end
    if (!huffman)
      return length > maxBytes ? this.#failed('HPACK_STRING_TOO_LONG') : block.toString('latin1', start, end)

    if (scratch.length < maxBytes) scratch = Buffer.allocUnsafeSlow(maxBytes)
    const decoded = decodeHuffman(block, start, end, scratch)
    if (decoded === HUFFMAN_INVALID) return this.#failed('HPACK_HUFFMAN')
    if (decoded === HUFFMAN_TOO_LONG || decoded > maxBytes) return this.#failed('HPACK_STRING_TOO_LONG')
    return scratch.toString('latin1', 0, decoded)
  }

  #failed(fault: HpackFault): undefined {
    this.#fault = fault
  }
}

function isSizeUpdate(first: number): boolean {
  return (first & 0xe0) === SIZE_UPDATE
}

function bad(code: HpackFault): HpackDecoded {
  return { kind: 'bad', code }
}
