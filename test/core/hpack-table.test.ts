import { Buffer } from 'node:buffer'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_TABLE_BYTES, DynamicTable, fieldBytes, STATIC_TABLE } from '../../src/core/hpack-table.ts'

/** Every entry, newest first, and one index more. */
function contents(table: DynamicTable): string[] {
  const entries: string[] = []
  for (let index = 0; table.nameAt(index) !== undefined; index++) {
    entries.push(`${table.nameAt(index)}=${table.valueAt(index)}`)
  }
  expect(table.valueAt(entries.length)).toBeUndefined()
  return entries
}

describe('the static table', () => {
  it.each([
    [1, ':authority', ''],
    [2, ':method', 'GET'],
    [7, ':scheme', 'https'],
    [14, ':status', '500'],
    [16, 'accept-encoding', 'gzip, deflate'],
    [28, 'content-length', ''],
    [58, 'user-agent', ''],
    [61, 'www-authenticate', ''],
  ])('has at index %i the field of RFC 7541 Appendix A', (index, name, value) => {
    expect(STATIC_TABLE[index - 1]).toEqual([name, value])
    expect(STATIC_TABLE).toHaveLength(61)
  })
})

describe('DynamicTable', () => {
  it('counts 32 octets for an entry beside its name and value', () => {
    expect(fieldBytes('custom-key', 'custom-header')).toBe(55)
  })

  it('has the newest entry first and takes as many as fit, to the octet', () => {
    const table = new DynamicTable()
    table.resize(2 * fieldBytes('a', '1'))
    expect(contents(table)).toEqual([])
    table.insert('a', '1')
    table.insert('b', '2')
    expect(contents(table)).toEqual(['b=2', 'a=1'])
    table.insert('c', '3')
    expect(contents(table)).toEqual(['c=3', 'b=2'])
    table.insert('d', '44')
    expect(contents(table)).toEqual(['d=44'])
    expect(table.inserted).toBe(4)
  })

  it('is emptied by an entry larger than itself, and takes the next (RFC 7541 §4.4)', () => {
    const evicted: string[] = []
    const table = new DynamicTable(DEFAULT_TABLE_BYTES, (name) => evicted.push(name))
    table.insert('a', '1')
    table.insert('b', '2')
    table.insert('c', 'x'.repeat(DEFAULT_TABLE_BYTES - 32))
    expect(contents(table)).toEqual([])
    expect(evicted).toEqual(['a', 'b'])
    table.insert('d', 'x'.repeat(DEFAULT_TABLE_BYTES - 33))
    expect(table.nameAt(0)).toBe('d')
  })

  it('is emptied by a size of none, and grows again', () => {
    const table = new DynamicTable()
    table.insert('a', '1')
    table.resize(0)
    table.insert('b', '2')
    expect(contents(table)).toEqual([])
    table.resize(DEFAULT_TABLE_BYTES)
    expect(table.capacity).toBe(DEFAULT_TABLE_BYTES)
    table.insert('c', '3')
    expect(contents(table)).toEqual(['c=3'])
  })

  it.each([
    ['the default', DEFAULT_TABLE_BYTES],
    ['no power of two', 5000],
    ['64 KiB', 64 * 1024],
  ])('has room for as many of the least entries as its size allows: %s', (_, bytes) => {
    const table = new DynamicTable(bytes)
    table.resize(bytes)
    for (let count = 0; count < 5000; count++) table.insert('', '')
    expect(contents(table)).toHaveLength(Math.floor(bytes / 32))

    const names = Array.from({ length: 5000 }, (_unused, at) => String.fromCharCode(at % 256))
    for (const name of names) table.insert(name, '')
    const newest = names.toReversed().slice(0, Math.floor(bytes / 33))
    expect(contents(table)).toEqual(newest.map((name) => `${name}=`))
  })

  it('does what a list does that is moved at each insertion', () => {
    const insertion = fc.record({ name: fc.constantFrom('', 'a', 'bb'), length: fc.integer({ min: 0, max: 200 }) })
    const step = fc.oneof(
      { weight: 6, arbitrary: insertion },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 900 }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const evicted: string[] = []
        const table = new DynamicTable(DEFAULT_TABLE_BYTES, (name, value) => evicted.push(`${name}=${value}`))
        const left: string[] = []
        const model: (readonly [string, string])[] = []
        let capacity = DEFAULT_TABLE_BYTES
        const bytes = (): number => model.reduce((sum, [name, value]) => sum + fieldBytes(name, value), 0)
        const evictDownTo = (most: number): void => {
          while (model.length > 0 && bytes() > most) left.push((model.pop() ?? []).join('='))
        }
        steps.forEach((entry, at) => {
          if (typeof entry === 'number') {
            capacity = entry
            table.resize(entry)
            evictDownTo(entry)
          } else {
            const value = `${at}`.padEnd(entry.length, '.')
            const size = fieldBytes(entry.name, value)
            table.insert(entry.name, value)
            evictDownTo(capacity - size)
            if (size <= capacity) model.unshift([entry.name, value])
          }
          expect(contents(table)).toEqual(model.map((field) => field.join('=')))
          expect(evicted).toEqual(left)
        })
      }),
    )
  })

  it('keeps nothing of what it evicted [C19]', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const tables = Array.from({ length: 64 }, () => new DynamicTable())
    const filled = Buffer.alloc(4000, 'x')
    collect()
    const before = process.memoryUsage().heapUsed
    for (const table of tables) {
      for (let count = 0; count < 256; count++) table.insert('a', filled.toString('latin1'))
    }
    collect()
    // 64 tables of one entry each are 256 KB; with every slot held it would be 32 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4_000_000)
    expect(tables.map((table) => table.valueAt(0)?.length)).toEqual(tables.map(() => 4000))
  })
})
