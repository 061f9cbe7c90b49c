import * as fc from 'fast-check'
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { encodeGrpcMessage, GRPC_STATUS_NAMES, GRPC_STATUS_OF, grpcStatus, isGrpc } from '../../src/core/grpc.ts'
import { REFUSALS, type Reason } from '../../src/core/refusal.ts'

describe('a gRPC call is told by its content-type', () => {
  it.each([
    ['application/grpc', true],
    ['application/grpc+proto', true],
    ['application/grpc+json', true],
    ['application/grpc;charset=utf-8', true],
    ['application/grpc ; charset=utf-8', true],
    ['application/grpc+proto; messageType=x', true],
    ['Application/GRPC', true],
    ['application/grpc-web', false],
    ['application/grpc-web+proto', false],
    ['application/grpc-web-text', false],
    ['application/grpcurl', false],
    ['application/json', false],
    ['text/plain; application/grpc', false],
    ['', false],
  ])('%s: %s', (contentType, grpc) => {
    expect(isGrpc(['Content-Type', contentType])).toBe(grpc)
  })

  it('none without one, and none where there are two', () => {
    expect(isGrpc(['accept', 'application/grpc'])).toBe(false)
    expect(isGrpc(['content-type', 'application/grpc', 'content-type', 'application/grpc'])).toBe(false)
  })
})

describe('what a refusal is to a gRPC client', () => {
  /** By the status that HTTP clients get; what is not in it is said for each reason. */
  const OF_STATUS: Readonly<Record<number, number>> = {
    400: status.INTERNAL,
    403: status.PERMISSION_DENIED,
    407: status.UNAUTHENTICATED,
    408: status.DEADLINE_EXCEEDED,
    413: status.RESOURCE_EXHAUSTED,
    417: status.INTERNAL,
    421: status.INTERNAL,
    429: status.RESOURCE_EXHAUSTED,
    431: status.RESOURCE_EXHAUSTED,
    502: status.UNAVAILABLE,
    503: status.UNAVAILABLE,
    504: status.DEADLINE_EXCEEDED,
  }
  const OF_REASON: Partial<Record<Reason, number>> = {
    response_too_large: status.RESOURCE_EXHAUSTED,
    tls_rejected: status.UNAVAILABLE,
    client_aborted: status.CANCELLED,
    policy_revoked: status.PERMISSION_DENIED,
  }

  it.each(Object.keys(REFUSALS) as Reason[])('%s', (reason) => {
    expect(GRPC_STATUS_OF[reason]).toBe(OF_REASON[reason] ?? OF_STATUS[REFUSALS[reason].status ?? 0])
  })

  it('is never OK, and has a name', () => {
    for (const code of Object.values(GRPC_STATUS_OF)) {
      expect(code).toBeGreaterThan(0)
      expect(GRPC_STATUS_NAMES[code]).toBe(status[code])
    }
  })

  it('the names are those of gRPC', () => {
    expect(GRPC_STATUS_NAMES).toEqual(Object.values(status).filter((name) => typeof name === 'string'))
  })
})

describe('the status that trailers tell', () => {
  it.each([
    ['OK', ['grpc-status', '0'], 0],
    ['another', ['x', 'y', 'Grpc-Status', '16'], 16],
    ['one that gRPC does not know', ['grpc-status', '999'], 999],
    ['none', ['grpc-message', '0'], null],
    ['two of them', ['grpc-status', '0', 'grpc-status', '7'], null],
    ['an empty one', ['grpc-status', ''], null],
    ['a word', ['grpc-status', 'OK'], null],
    ['a sign', ['grpc-status', '-1'], null],
    ['a fraction', ['grpc-status', '1.5'], null],
    ['another base', ['grpc-status', '0x7'], null],
    ['more than a status can be', ['grpc-status', '1000'], null],
  ])('%s', (_case, fields, read) => {
    expect(grpcStatus(fields)).toBe(read)
  })
})

describe('grpc-message', () => {
  it.each([
    ['mcp-egress: no_matching_rule: add /a to the paths', 'mcp-egress: no_matching_rule: add /a to the paths'],
    ['100 %', '100 %25'],
    ['a\r\nb\0', 'a%0D%0Ab%00'],
    ['\u007f~', '%7F~'],
    ['caf\u00e9', 'caf%C3%A9'],
    ['\u{1f600}', '%F0%9F%98%80'],
    ['half \ud83d pair', 'half %EF%BF%BD pair'],
  ])('%j', (message, encoded) => {
    expect(encodeGrpcMessage(message)).toBe(encoded)
  })

  it.each([
    ['a long one is cut', 'a'.repeat(2_000), 'a'.repeat(1_024)],
    ['but not in the middle of a character', `${'a'.repeat(1_020)}\u00e9b`, 'a'.repeat(1_020)],
  ])('%s', (_case, message, encoded) => {
    expect(encodeGrpcMessage(message)).toBe(encoded)
  })

  it('is a field value that decodes to the beginning of the message, whatever that is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (message) => {
        const encoded = encodeGrpcMessage(message)
        expect(encoded).toMatch(/^[\x20-\x7e]{0,1024}$/)
        expect(message.startsWith(decodeURIComponent(encoded))).toBe(true)
        // A character is 12 bytes at most.
        expect(encoded.length > 1_012 || decodeURIComponent(encoded) === message).toBe(true)
      }),
    )
  })
})
