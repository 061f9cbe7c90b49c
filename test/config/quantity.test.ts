// Sizes, durations and listen addresses have one reading each, or none.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatListenAddress, parseDuration, parseListenAddress, parseSize } from '../../src/config/quantity.ts'

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['1024', 1024],
    ['1KiB', 1024],
    ['50MB', 50_000_000],
    ['1 MiB', 1_048_576],
    ['2GiB', 2_147_483_648],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each(['', 'MiB', '-1', '1.5MB', '01', '1e3', '1mib', '1TiB', '1  MB', '999999999999999GB'])(
    '%j is none',
    (text) => {
      expect(parseSize(text)).toBeNull()
    },
  )
})

describe('parseDuration', () => {
  it.each([
    ['0s', 0],
    ['500ms', 500],
    ['8s', 8000],
    ['1m', 60_000],
    ['24h', 86_400_000],
    ['30d', 2_592_000_000],
  ])('%s is %i ms', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds)
  })

  it.each(['', '8', 's', '-1s', '1.5s', '1w', '08s'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeNull()
  })
})

describe('parseListenAddress', () => {
  it.each([
    ['127.0.0.1:3128', { kind: 'tcp', host: '127.0.0.1', port: 3128 }],
    ['[::1]:0', { kind: 'tcp', host: '::1', port: 0 }],
    ['[FE80::1]:80', { kind: 'tcp', host: 'fe80::1', port: 80 }],
    ['unix:run/a.sock', { kind: 'unix', path: 'run/a.sock' }],
  ])('reads %s', (text, address) => {
    expect(parseListenAddress(text)).toEqual(address)
  })

  it.each([
    '',
    '3128',
    ':3128',
    'localhost:3128',
    '*:3128',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:08',
    '127.1:80',
    '::1:80',
    '[127.0.0.1]:80',
    '[fe80::1%eth0]:80',
    'http://127.0.0.1:80',
    'unix:',
    `unix:/${'a'.repeat(107)}`,
  ])('%j is none', (text) => {
    expect(parseListenAddress(text)).toBeNull()
  })

  it('reads back what it prints', () => {
    const tcp = fc.record({
      kind: fc.constant('tcp' as const),
      host: fc.oneof(
        fc.ipV4(),
        fc.ipV6().map((host) => host.toLowerCase()),
      ),
      port: fc.nat(65_535),
    })
    fc.assert(
      fc.property(tcp, (address) => {
        expect(parseListenAddress(formatListenAddress(address))).toEqual(address)
      }),
    )
    expect(formatListenAddress({ kind: 'unix', path: '/run/a' })).toBe('unix:/run/a')
  })
})
