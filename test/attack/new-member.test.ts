// A server that has always sent honest mails adds a member one day: seen, then denied, wherever in the body it hides.

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { type Bed, refusalOf, startBed, TOKEN, type Way } from '../doors/support/bed.ts'
import type { AuditRecord } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'
import type { Message } from '../support/wire.ts'

const MAIL = 'mail.allowed.test'
const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]
const rulesOf = (mode: string, port: number | string): string => `  - id: send-mail
    allow: { hosts: [${MAIL}], ports: [${port}], schemes: [http, https] }
    shape: ${mode}
`

const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const PARTS_TYPE = 'multipart/form-data; boundary=X'
const latin1 = (bytes: Buffer): string => bytes.toString('latin1')
const part = (name: string): string => `--X\r\nContent-Disposition: form-data; name="${name}"\r\n\r\nx\r\n`

interface Sent {
  readonly what: string
  readonly type: string | null
  readonly body: string
  readonly coding?: string
  readonly method?: string
}

const HONEST: readonly Sent[] = [
  { what: 'JSON', type: JSON_TYPE, body: '{"From":"a","To":"b","Attachments":[{"Name":"c","Headers":{"X":1}}]}' },
  { what: 'less of it', type: JSON_TYPE, body: '{"From":"a"}' },
  { what: 'JSON in gzip', type: JSON_TYPE, body: latin1(gzipSync('{"From":"a","Tag":"t"}')), coding: 'gzip' },
  { what: 'a form', type: FORM_TYPE, body: 'From=a&To=b' },
  { what: 'form data', type: PARTS_TYPE, body: `${part('From')}${part('To')}--X--\r\n` },
  { what: 'nothing', type: null, body: '', method: 'GET' },
]

/** And what the record calls new. */
const CAUGHT: readonly (Sent & { readonly flags: readonly string[] })[] = [
  { what: 'as it is', type: JSON_TYPE, body: '{"From":"a","Bcc":"x"}', flags: ['$.Bcc'] },
  { what: 'as null', type: JSON_TYPE, body: '{"From":"a","Bcc":null}', flags: ['$.Bcc'] },
  { what: 'escaped', type: JSON_TYPE, body: '{"From":"a","\\u0042\\u0063c":"x"}', flags: ['$.Bcc'] },
  { what: 'in place of a known one, in another case', type: JSON_TYPE, body: '{"from":"a"}', flags: ['$.from'] },
  {
    what: 'as a name that looks like a known path',
    type: JSON_TYPE,
    body: '{"Attachments[*].Name":1}',
    flags: ["$['Attachments[*].Name']"],
  },
  { what: 'in an object', type: JSON_TYPE, body: '{"To":{"Bcc":"x"}}', flags: ['$.To.Bcc'] },
  {
    what: 'in the last element of a list',
    type: JSON_TYPE,
    body: '{"Attachments":[{"Name":"a"},{"Bcc":"b"}]}',
    flags: ['$.Attachments[*].Bcc'],
  },
  {
    what: 'in an object of a list',
    type: JSON_TYPE,
    body: '{"Attachments":[{"Headers":{"Bcc":"b"}}]}',
    flags: ['$.Attachments[*].Headers.Bcc'],
  },
  { what: 'in a list of one', type: JSON_TYPE, body: '[{"From":"a"}]', flags: ['$', '$[*].From'] },
  { what: 'as the body itself', type: JSON_TYPE, body: '"Bcc"', flags: ['$'] },
  { what: 'in gzip', type: JSON_TYPE, body: latin1(gzipSync('{"Bcc":"x"}')), coding: 'gzip', flags: ['$.Bcc'] },
  { what: 'in a form', type: FORM_TYPE, body: 'From=a&%42cc=x', flags: ['form:Bcc'] },
  { what: 'in a list of PHP', type: FORM_TYPE, body: 'From[]=a', flags: ['form:From[]'] },
  { what: 'in form data', type: PARTS_TYPE, body: `${part('From')}${part('Bcc')}--X--\r\n`, flags: ['multipart:Bcc'] },
]

/** What can not be read has no members that could be known. */
const UNREADABLE: readonly Sent[] = [
  { what: 'of a type that is not read', type: 'text/plain', body: '{"From":"a"}' },
  { what: 'of no type', type: null, body: '{"From":"a"}' },
  { what: 'with a member twice', type: JSON_TYPE, body: '{"From":"a","From":"b"}' },
  { what: 'with a byte order mark', type: JSON_TYPE, body: `\u00ef\u00bb\u00bf{"From":"a"}` },
  { what: 'in a coding nobody knows', type: JSON_TYPE, body: '{"From":"a"}', coding: 'aes128gcm' },
  { what: 'over the limit', type: JSON_TYPE, body: `{"From":"${'a'.repeat(1_100_000)}"}` },
]

describe.each(WAYS)('[J01] [J02] by $door', (way) => {
  let bed: Bed
  let count = 0
  const received: string[] = []
  beforeAll(async () => {
    bed = await startBed(way, { rules: rulesOf('learn', 'PORT'), names: { [MAIL]: ['127.0.0.1'] } })
    bed.origin.on('/mail', async (wire, asked) => {
      received.push((await asked.body()).body)
      wire.write(ok('sent'))
    })
  })
  afterAll(() => bed.close())

  const file = (): string => join(bed.lab.folder, 'logs/shapes.json')
  const setMode = (mode: string): void => bed.lab.reload({ rules: rulesOf(mode, bed.origin.port) })
  const send = async (sent: Sent): Promise<{ readonly answer: Message; readonly record: AuditRecord }> => {
    received.length = 0
    count += 1
    const fields = [
      ...(sent.type === null ? [] : [`Content-Type: ${sent.type}`]),
      ...(sent.coding === undefined ? [] : [`Content-Encoding: ${sent.coding}`]),
      ...(sent.method === 'GET' ? [] : [`Content-Length: ${sent.body.length}`]),
    ]
    const method = sent.method ?? 'POST'
    const asked = { method, host: MAIL, body: sent.body, fields: fields.map((field) => `${field}\r\n`).join('') }
    const answer = await bed.ask(`/mail?${count}`, asked)
    const record = bed.lab.recordsOf('request.decided').find(({ query }) => query === String(count))
    if (record === undefined) throw new Error('no record')
    return { answer, record }
  }

  it.each(HONEST.map((sent) => [sent.what, sent] as const))('learned from what goes out: %s', async (_what, sent) => {
    const { answer, record } = await send(sent)
    expect(answer.status).toBe(200)
    expect(received).toEqual([sent.body])
    expect(record).toMatchObject({ decision: 'allow', rule: 'send-mail', security_flags: [] })
  })

  it('a name that holds a secret is never learned, nor recorded', async () => {
    const token = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`
    await send({ what: '', type: JSON_TYPE, body: `{"${token}":1}` })
    setMode('alert')
    const { record } = await send({ what: '', type: JSON_TYPE, body: `{"${token}":1}` })
    expect(record['security_flags']).toEqual([expect.stringMatching(/^new_member:\$\.hmac:[0-9a-f]{16}$/)])
    setMode('learn')
  })

  it.each(CAUGHT.map((sent) => [sent.what, sent] as const))(
    'alert lets a new member go, and says so: %s',
    async (_what, sent) => {
      setMode('alert')
      const { answer, record } = await send(sent)
      expect(answer.status).toBe(200)
      expect(received).toEqual([sent.body])
      const flags = sent.flags.map((member) => `new_member:${member}`)
      expect(record).toMatchObject({ decision: 'allow', rule: 'send-mail', security_flags: flags })
    },
  )

  it.each(UNREADABLE.map((sent) => [sent.what, sent] as const))(
    'alert lets a body go that it can not read: %s',
    async (_what, sent) => {
      const { answer, record } = await send(sent)
      expect(answer.status).toBe(200)
      expect(received).toEqual([sent.body])
      expect(record).toMatchObject({ decision: 'allow', security_flags: ['shape_unknown'] })
    },
  )

  it.each(CAUGHT.map((sent) => [sent.what, sent] as const))(
    'enforce does not let a new member go: %s',
    async (_what, sent) => {
      setMode('enforce')
      const { answer, record } = await send(sent)
      expect(answer.status).toBe(403)
      expect(received).toEqual([])
      const flags = sent.flags.map((member) => `new_member:${member}`)
      expect(record).toMatchObject({ decision: 'deny', reason: 'body_rule', rule: 'send-mail', security_flags: flags })
      expect(refusalOf(answer).hint).toBe(
        `rule send-mail: ${sent.flags[0]} was never seen; set shape: learn to learn it`,
      )
    },
  )

  it.each(UNREADABLE.map((sent) => [sent.what, sent] as const))(
    'nor a body that it can not read: %s',
    async (_what, sent) => {
      const { answer, record } = await send(sent)
      expect(answer.status).toBe(403)
      expect(received).toEqual([])
      expect(record).toMatchObject({ decision: 'deny', reason: 'body_rule', security_flags: ['shape_unknown'] })
    },
  )

  it.each(HONEST.map((sent) => [sent.what, sent] as const))('but all that was learned: %s', async (_what, sent) => {
    const { answer, record } = await send(sent)
    expect(answer.status).toBe(200)
    expect(received).toEqual([sent.body])
    expect(record).toMatchObject({ decision: 'allow', security_flags: [] })
  })

  it('the operator reads what was learned, takes a member out, and it is new again', async () => {
    // A shutdown writes what was learned last; here the file is waited for.
    for (const deadline = Date.now() + 5_000; Date.now() < deadline && !exists(file()); )
      await new Promise((resolve) => setImmediate(resolve))
    expect(statSync(file()).mode & 0o777).toBe(0o600)
    const members = [
      '$.Attachments',
      '$.Attachments[*].Headers',
      '$.Attachments[*].Headers.X',
      '$.Attachments[*].Name',
      '$.From',
      '$.Tag',
      '$.To',
      'form:From',
      'form:To',
      'multipart:From',
      'multipart:To',
    ]
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual({ version: 1, rules: { 'send-mail': members } })
    writeFileSync(file(), readFileSync(file(), 'utf8').replace('      "$.Tag",\n', ''))
    setMode('enforce')
    const { answer } = await send(HONEST[2] as Sent)
    expect(refusalOf(answer).hint).toBe('rule send-mail: $.Tag was never seen; set shape: learn to learn it')
  })

  it('a file that is broken is not put in force, and what was in force stays', async () => {
    writeFileSync(file(), '{"version":1,')
    const loaded = loadConfig(join(bed.lab.folder, 'mcp-egress.yaml'), { ROBOT_TOKEN: TOKEN })
    if (!loaded.ok) throw new Error('the test itself is wrong')
    await expect(bed.lab.proxy.reload(loaded.config)).rejects.toThrow(file())
    const { answer } = await send(HONEST[0] as Sent)
    expect(answer.status).toBe(200)
  })
})

it('only what goes out is learned from, and where nothing was learned nothing does', async () => {
  const rules = (mode: string, port: number | string): string => `  - id: send-mail
    allow: { hosts: [${MAIL}], ports: [${port}], schemes: [http, https] }
    rate: { requests: 1, per: hour }
    body: { json: [{ path: $.Cc, must: be-absent }] }
    shape: ${mode}
`
  const bed = await startBed(WAYS[0] as Way, { rules: rules('learn', 'PORT'), names: { [MAIL]: ['127.0.0.1'] } })
  try {
    const send = async (body: string): Promise<Message> => {
      const fields = `Content-Type: ${JSON_TYPE}\r\nContent-Length: ${body.length}\r\n`
      return bed.ask('/mail', { method: 'POST', host: MAIL, body, fields })
    }
    bed.origin.on('/mail', (wire) => wire.write(ok('sent')))
    expect((await send('{"Cc":1,"Bcc":1}')).status).toBe(403)
    bed.lab.reload({ rules: rules('enforce', bed.origin.port) })
    const empty = await send('{"From":"a"}')
    expect(refusalOf(empty).hint).toBe('rule send-mail: no shape was learned yet; set shape: learn to learn it')
    bed.lab.reload({ rules: rules('learn', bed.origin.port) })
    expect((await send('{"From":"a"}')).status).toBe(200)
    expect((await send('{"From":"a","Bcc":"x"}')).status).toBe(429)
    bed.lab.reload({ rules: rules('enforce', bed.origin.port).replace('requests: 1,', 'requests: 9,') })
    expect(refusalOf(await send('{"From":"a","Bcc":"x"}')).hint).toContain('$.Bcc was never seen')
  } finally {
    await bed.close()
  }
})

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined
