import { describe, expect, it } from 'vitest'
import { sealCredentialField } from '../../src/core/redact-header.ts'

const parts = {
  sealed: (value: string) => (value === '' ? '' : `<${value}>`),
  kept: (text: string) => text.toUpperCase(),
}

describe('credential fields', () => {
  it.each<[string, string, string | null]>([
    ['cookie', 'a=1; b=2=3;c; d=', 'A=<1>; B=<2=3>;<c>; D='],
    ['set-cookie', 'sid=abc; Path=/; HttpOnly', 'SID=<abc>; PATH=/; HTTPONLY'],
    ['set-cookie', 'sid=abc', 'SID=<abc>'],
    ['authorization', 'Bearer abc', 'BEARER <abc>'],
    ['authorization', 'justatoken', '<justatoken>'],
    ['proxy-authorization', 'Basic YTpi', 'BASIC <YTpi>'],
    ['location', 'https://h/', null],
  ])('%s: %s', (name, value, expected) => {
    expect(sealCredentialField(name, value, parts)).toBe(expected)
  })
})
