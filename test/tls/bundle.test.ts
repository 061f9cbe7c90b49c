import { X509Certificate } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { bundleText, refreshBundle } from '../../src/tls/bundle.ts'
import { certificateBlocks } from '../../src/tls/certificate.ts'
import { systemRoots } from '../../src/tls/trust.ts'
import { importedCa } from './fixture.ts'

function pemOf(directory: string): string {
  return readFileSync(join(directory, 'ca.pem'), 'utf8')
}

describe('the bundle', () => {
  it('[T6] is our CA and every root of the system, since clients replace their roots with it', () => {
    const ours = pemOf(importedCa())
    const blocks = certificateBlocks(bundleText([new X509Certificate(ours)]))
    expect(blocks[0]).toBe(ours)
    expect(blocks.slice(1)).toEqual(systemRoots())
  })

  it('holds our CA once, also where the system has it', () => {
    const ours = pemOf(importedCa())
    const other = pemOf(importedCa())
    expect(bundleText([new X509Certificate(ours)], [other, ours])).toBe(ours + other)
  })

  it('is written when missing, and left alone when it is current', () => {
    const paths = authorityPaths(importedCa())
    const authority = [new X509Certificate(readFileSync(paths.ca))]
    expect(refreshBundle(paths, authority)).toBeNull()
    expect(readFileSync(paths.bundle, 'utf8')).toBe(bundleText(authority))
    expect(refreshBundle(paths, authority)).toBeNull()
    expect(readdirSync(paths.directory).sort()).toEqual(['bundle.pem', 'ca.pem', 'private'])
  })

  it('that can not be written is a sentence with the path and the fix', () => {
    const paths = { ...authorityPaths(importedCa()), bundle: '/proc/bundle.pem' }
    expect(refreshBundle(paths, [new X509Certificate(readFileSync(paths.ca))])).toMatch(/^\/proc\/bundle\.pem: .*Fix: /)
    expect(existsSync(paths.bundle)).toBe(false)
  })
})
