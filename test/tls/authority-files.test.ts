import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { AuthorityError, errorCode, fileExists, publishFile } from '../../src/tls/authority-files.ts'
import { file, temporaryDirectory } from './fixture.ts'

describe('publishFile', () => {
  it('replaces the old content, world-readable whatever the umask', () => {
    const path = join(temporaryDirectory(), 'ca.pem')
    writeFileSync(path, 'old', { mode: 0o600 })
    const before = process.umask(0o077)
    publishFile(path, 'new')
    process.umask(before)
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(statSync(path).mode & 0o777).toBe(0o644)
  })

  it('leaves nothing behind when it fails', () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'ca.pem'))
    expect(() => publishFile(join(directory, 'ca.pem'), 'new')).toThrow(/EISDIR/)
    expect(readdirSync(directory)).toEqual(['ca.pem'])
  })
})

describe('fileExists', () => {
  it('tells present from missing', () => {
    expect(fileExists(file('x'))).toBe(true)
    expect(fileExists(join(temporaryDirectory(), 'x'))).toBe(false)
  })

  it('throws with the path where it can not tell', () => {
    const name = `/${'x'.repeat(300)}`
    expect(() => fileExists(name)).toThrow(AuthorityError)
    expect(() => fileExists(name)).toThrow(/^\/x+: can not be read \(ENAMETOOLONG\)\. Fix: /)
  })
})

describe('errorCode', () => {
  it.each([
    [Object.assign(new Error('no'), { code: 'EACCES' }), 'EACCES'],
    [new Error('no'), 'Error: no'],
    ['text', 'text'],
  ])('%s is %s', (error, code) => {
    expect(errorCode(error)).toBe(code)
  })
})
