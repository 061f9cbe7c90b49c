import { expect, it } from 'vitest'
import { isAboutCertificate, rejectionHint } from '../../src/core/rejection-hint.ts'

const HOST = 'updates.vendor.example'
const REJECTION = { cause: 'certificate_rejected', host: HOST, times: 1, permitted: true, named: true } as const
const PASSTHROUGH = `or add \`passthrough: { hosts: [${HOST}] }\``

it.each([
  [
    'a client that says so',
    {},
    `the client did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md) ${PASSTHROUGH}`,
  ],
  [
    'the third time',
    { times: 3 },
    `the client did not accept our certificate for ${HOST}, 3 times: trust the CA (docs/ca.md) ${PASSTHROUGH}`,
  ],
  [
    'a client that leaves after the handshake',
    { cause: 'closed_without_request' },
    `the client left without a request, as if it did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md) ${PASSTHROUGH}`,
  ],
  [
    'a client that closes in it',
    { cause: 'closed' },
    `the client left in the handshake, as if it did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md) ${PASSTHROUGH}`,
  ],
  [
    'a client that resets in it',
    { cause: 'reset' },
    `the client left in the handshake, as if it did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md) ${PASSTHROUGH}`,
  ],
  [
    'a connection without a server name, which no rule can pass through',
    { named: false },
    `the client did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md)`,
  ],
  [
    'a host that no rule allows: nothing is opened for it',
    { permitted: false },
    `the client did not accept our certificate for ${HOST}, once: trust the CA (docs/ca.md) to read the refusal, no rule allows this host`,
  ],
] as const)('%s', (_name, change, hint) => {
  expect(rejectionHint({ ...REJECTION, ...change })).toBe(hint)
})

it.each([
  'no_shared_cipher',
  'no_application_protocol',
  'protocol_version',
  'handshake_timeout',
  'handshake_failed',
] as const)('%s is about something else: no advice', (cause) => {
  expect(isAboutCertificate(cause)).toBe(false)
  expect(rejectionHint({ ...REJECTION, cause })).toBeNull()
})

it.each(['certificate_rejected', 'closed_without_request', 'closed', 'reset'] as const)('%s counts', (cause) => {
  expect(isAboutCertificate(cause)).toBe(true)
})
