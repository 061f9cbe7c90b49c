import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openRedactionKey } from '../../src/audit/secret.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secret-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('openRedactionKey', () => {
  it('makes 32 random bytes for its owner alone, and answers the same ones afterwards [K29]', () => {
    const file = join(folder, 'private', 'redaction.key')
    const key = openRedactionKey(file)
    expect(key).toHaveLength(32)
    expect(readFileSync(file)).toEqual(key)
    expect(openRedactionKey(file)).toEqual(key)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'private')).mode & 0o777).toBe(0o700)
    expect(openRedactionKey(join(folder, 'other.key'))).not.toEqual(key)
  })

  it.each([0o640, 0o604, 0o620])('refuses a key that others can touch: %o', (mode) => {
    const file = join(folder, 'key')
    openRedactionKey(file)
    chmodSync(file, mode)
    expect(() => openRedactionKey(file)).toThrow(
      `redaction key ${file} can be read or written by others: chmod 600 ${file}`,
    )
  })

  it.each([0, 31, 33])('refuses a key of %d bytes', (size) => {
    const file = join(folder, 'key')
    writeFileSync(file, Buffer.alloc(size), { mode: 0o600 })
    expect(() => openRedactionKey(file)).toThrow(`has ${size} bytes, not 32: move it away`)
  })

  it('refuses a symbolic link, whether it leads somewhere or not', () => {
    const file = join(folder, 'key')
    symlinkSync(join(folder, 'elsewhere'), file)
    expect(() => openRedactionKey(file)).toThrow('is a symbolic link')
    openRedactionKey(join(folder, 'elsewhere'))
    expect(() => openRedactionKey(file)).toThrow('is a symbolic link')
  })

  it('refuses a folder, and passes on what it can not explain', () => {
    mkdirSync(join(folder, 'key'))
    expect(() => openRedactionKey(join(folder, 'key'))).toThrow('is not a regular file')
    writeFileSync(join(folder, 'file'), '')
    expect(() => openRedactionKey(join(folder, 'file', 'key'))).toThrow('ENOTDIR')
  })
})
