// Writes HTTP/2 field blocks (RFC 7541) from fields that may be other people's secrets.

import { Buffer } from 'node:buffer'
import { DEFAULT_TABLE_BYTES, DynamicTable, fieldBytes, STATIC_TABLE } from './hpack-table.ts'
import type { RawHeaders } from './http1.ts'

/**
 * Fields whose values repeat from message to message and are nobody's secret. SECURITY: only these enter the dynamic table.
 * One session to an origin carries requests of several clients, and a client that sees how long a block came out could
 * guess what another one sent (RFC 7541 §7.1, the CRIME attack). A field that is not here is a credential until known better.
 */
const INDEXED_NAMES: ReadonlySet<string> = new Set([
  ':authority',
  ':method',
  ':status',
  'accept',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'access-control-allow-origin',
  'cache-control',
  'content-encoding',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-status',
  'mcp-protocol-version',
  'server',
  'strict-transport-security',
  'te',
  'user-agent',
  'vary',
  'x-content-type-options',
])

/** A longer entry would push out more of the others than it is likely to save. */
const MAX_ENTRY_BYTES = DEFAULT_TABLE_BYTES / 8

interface StaticName {
  readonly index: number
  readonly values: ReadonlyMap<string, number>
}

const STATIC_NAMES: ReadonlyMap<string, StaticName> = staticNames()

/** First octets of the representations (RFC 7541 §6), each with the bits of its integer. */
const INDEXED = 0x80
const INDEXED_BITS = 7
const INCREMENTAL_INDEXING = 0x40
const INCREMENTAL_BITS = 6
const SIZE_UPDATE = 0x20
const SIZE_BITS = 5
const NEVER_INDEXED = 0x10
const NEVER_BITS = 4
const LENGTH_BITS = 7

/** Writes the blocks of one direction of one connection, in the order in which they are sent. */
export class HpackEncoder {
  /** By name and value, which insertion an entry of the table was. */
  readonly #insertions = new Map<string, Map<string, number>>()
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES, (name, value) => this.#insertions.get(name)?.delete(value))
  /** What the next block has to announce: the smallest size since the last one; null for nothing. */
  #smallestBytes: number | null = null
  #maxBytes = DEFAULT_TABLE_BYTES

  /** The peer's SETTINGS_HEADER_TABLE_SIZE, from the moment its SETTINGS are acknowledged. We use no more than the default. */
  setMaxTableBytes(bytes: number): void {
    const maxBytes = Math.min(bytes, DEFAULT_TABLE_BYTES)
    if (maxBytes === this.#maxBytes) return
    this.#maxBytes = maxBytes
    this.#smallestBytes = Math.min(maxBytes, this.#smallestBytes ?? DEFAULT_TABLE_BYTES)
  }

  /**
   * One whole field block. Fields must be fit to be sent: lower-case names, latin1, no CR, LF or NUL. That is not looked at
   * here. Strings are not Huffman-coded: it costs a step for each octet and saves a quarter of them, inside TLS.
   */
  encode(fields: RawHeaders): Buffer {
    // One string, turned into octets at once: as fast as a write into a Buffer for each part, and with no size to watch.
    let block = this.#sizeUpdates()
    for (let i = 0; i < fields.length; i += 2) block += this.#field(fields[i] as string, fields[i + 1] as string)
    return Buffer.from(block, 'latin1')
  }

  /** RFC 7541 §4.2: the smallest size, so that the peer evicts what we evict, and then the one that holds. */
  #sizeUpdates(): string {
    if (this.#smallestBytes === null) return ''
    const smallest = this.#smallestBytes
    this.#smallestBytes = null
    this.#table.resize(smallest)
    const update = integer(SIZE_UPDATE, SIZE_BITS, smallest)
    if (smallest === this.#maxBytes) return update
    this.#table.resize(this.#maxBytes)
    return update + integer(SIZE_UPDATE, SIZE_BITS, this.#maxBytes)
  }

  #field(name: string, value: string): string {
    const known = STATIC_NAMES.get(name)
    const exact = known?.values.get(value)
    if (exact !== undefined) return integer(INDEXED, INDEXED_BITS, exact)

    // Whoever sent us a field never indexed wants it forwarded so (§6.2.3): all that is not in the list is.
    if (!INDEXED_NAMES.has(name)) return literal(NEVER_INDEXED, NEVER_BITS, known, name, value)

    const insertion = this.#insertions.get(name)?.get(value)
    if (insertion !== undefined)
      return integer(INDEXED, INDEXED_BITS, STATIC_TABLE.length + this.#table.inserted - insertion)

    const bytes = fieldBytes(name, value)
    if (bytes > MAX_ENTRY_BYTES || bytes > this.#table.capacity)
      return literal(NEVER_INDEXED, NEVER_BITS, known, name, value)
    this.#insert(name, value)
    return literal(INCREMENTAL_INDEXING, INCREMENTAL_BITS, known, name, value)
  }

  #insert(name: string, value: string): void {
    let insertions = this.#insertions.get(name)
    if (insertions === undefined) {
      insertions = new Map()
      this.#insertions.set(name, insertions)
    }
    insertions.set(value, this.#table.inserted)
    this.#table.insert(name, value)
  }
}

/** §6.2: the name by its index where the static table has it, else spelt out. */
function literal(first: number, bits: number, known: StaticName | undefined, name: string, value: string): string {
  if (known !== undefined) return integer(first, bits, known.index) + string(value)
  return integer(first, bits, 0) + string(name) + string(value)
}

/** §5.2, without Huffman. */
function string(text: string): string {
  return integer(0, LENGTH_BITS, text.length) + text
}

/** §5.1. */
function integer(first: number, bits: number, value: number): string {
  const full = (1 << bits) - 1
  if (value < full) return String.fromCharCode(first | value)
  let octets = String.fromCharCode(first | full)
  let rest = value - full
  for (; rest >= 0x80; rest >>= 7) octets += String.fromCharCode((rest & 0x7f) | 0x80)
  return octets + String.fromCharCode(rest)
}

function staticNames(): Map<string, StaticName> {
  const names = new Map<string, { index: number; values: Map<string, number> }>()
  for (const [at, [name, value]] of STATIC_TABLE.entries()) {
    const known = names.get(name) ?? { index: at + 1, values: new Map<string, number>() }
    known.values.set(value, at + 1)
    names.set(name, known)
  }
  return names
}
