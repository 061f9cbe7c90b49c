// HPACK's index space (RFC 7541 §2.3): the static table, and a dynamic table that forgets its oldest entries.

/** RFC 7541 Appendix A; index 1 is the first. */
export const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
]

/** What an entry counts beyond the octets of its name and value (RFC 7541 §4.1, RFC 9113 §6.5.2). */
const ENTRY_OVERHEAD = 32

/** The size of both dynamic tables of a connection until SETTINGS_HEADER_TABLE_SIZE says otherwise (RFC 9113 §6.5.2). */
export const DEFAULT_TABLE_BYTES = 4096

/** Octets of a field in a table or a header list. Strings are latin1: a character is an octet. */
export function fieldBytes(name: string, value: string): number {
  return name.length + value.length + ENTRY_OVERHEAD
}

/** A ring of entries. Nothing is moved when one is inserted: an index counts back from the newest. */
export class DynamicTable {
  readonly #names: string[] = []
  readonly #values: string[] = []
  /** Slots less one: a power of two that holds every entry of the least size. */
  readonly #mask: number
  readonly #onEvict: (name: string, value: string) => void
  #capacity = DEFAULT_TABLE_BYTES
  #bytes = 0
  #inserted = 0
  #evicted = 0

  /** `maxBytes`: the most that `resize` will ask for, not less than the default. `onEvict` is told of each entry that leaves. */
  constructor(maxBytes: number = DEFAULT_TABLE_BYTES, onEvict: (name: string, value: string) => void = () => {}) {
    this.#mask = slotsFor(maxBytes) - 1
    this.#onEvict = onEvict
  }

  /** The size that entries may take together, in octets as §4.1 counts them. */
  get capacity(): number {
    return this.#capacity
  }

  /** How many entries were ever inserted; the next one gets this number. */
  get inserted(): number {
    return this.#inserted
  }

  /** The name of the entry at this index, 0 being the newest; undefined where there is none. */
  nameAt(index: number): string | undefined {
    return this.#holds(index) ? this.#names[(this.#inserted - 1 - index) & this.#mask] : undefined
  }

  valueAt(index: number): string | undefined {
    return this.#holds(index) ? this.#values[(this.#inserted - 1 - index) & this.#mask] : undefined
  }

  /** Evicts until the entry fits. One larger than the whole table empties it and is not kept; that is no error (§4.4). */
  insert(name: string, value: string): void {
    const bytes = fieldBytes(name, value)
    this.#evictTo(Math.max(0, this.#capacity - bytes))
    if (bytes > this.#capacity) return
    const slot = this.#inserted++ & this.#mask
    this.#names[slot] = name
    this.#values[slot] = value
    this.#bytes += bytes
  }

  resize(capacity: number): void {
    this.#capacity = capacity
    this.#evictTo(capacity)
  }

  #holds(index: number): boolean {
    return index < this.#inserted - this.#evicted
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes) {
      const slot = this.#evicted++ & this.#mask
      const name = this.#names[slot] as string
      const value = this.#values[slot] as string
      // SECURITY: a slot that went on holding its string would keep up to 128 times the table's size.
      this.#names[slot] = ''
      this.#values[slot] = ''
      this.#bytes -= fieldBytes(name, value)
      this.#onEvict(name, value)
    }
  }
}

function slotsFor(maxBytes: number): number {
  let slots = 1
  while (slots < maxBytes / ENTRY_OVERHEAD) slots *= 2
  return slots
}
