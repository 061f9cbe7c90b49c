// A described request is judged as one that arrives.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { judgeRequest } from '../../src/config/judge-request.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'

const TEXT = `version: 1
listen: { proxy: ["127.0.0.1:3128", "10.0.0.9:8080"], gateway: "0.0.0.0:443" }
clients:
  - { name: keyed, token: "\${A_TOKEN}" }
rules:
  - id: read
    allow: { hosts: [api.example.com, 127.0.0.1, 10.0.0.9, 169.254.169.254, 8.8.8.8], methods: [GET], schemes: [http, https], ports: [80, 443, 3128, 8080] }
  - { id: chat, allow: { hosts: [ws.example.com], upgrade: [websocket], schemes: [http, https] } }
  - { id: never, deny: { hosts: ["**.example.com"], paths: [/admin] } }
  - { id: mail, allow: { hosts: [mail.example.com] }, body: { json: [{ path: $.Bcc, must: be-absent }] } }
  - { id: shaped, allow: { hosts: [shaped.example.com] }, shape: learn }
  - { id: pinned, passthrough: { hosts: [updates.example.org] } }
  - { id: keyed-only, clients: [keyed], allow: { hosts: [keyed.example.com] } }
upstream: { deny: [metadata, link-local], allow: [10.0.0.0/8] }
`

let folder: string
let enforcing: Config
let observing: Config

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-judge-'))
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, TEXT)
  const load = (observe: boolean): Config => {
    const loaded = loadConfig(file, { A_TOKEN: 'a-token-of-some-length' }, { allow: [], observe })
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
    return loaded.config
  }
  enforcing = load(false)
  observing = load(true)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('judgeRequest', () => {
  it.each([
    ['GET', 'https://api.example.com/v1?q=1', 'allow', 'read', null],
    ['GET', 'https://API.Example.com', 'allow', 'read', null],
    ['POST', 'https://api.example.com/v1', 'deny', null, 'no_matching_rule'],
    ['GET', 'https://api.example.com/admin', 'deny', 'never', 'denied_by_rule'],
    ['GET', 'https://api.example.com/a/../admin', 'deny', null, 'path_not_canonical'],
    ['GET', 'https://api.example.com/a%2fb', 'deny', null, 'path_not_canonical'],
    ['GET', 'https://user@api.example.com/', 'deny', null, 'host_not_canonical'],
    ['GET', 'ftp://api.example.com/', 'deny', null, 'malformed'],
    ['GET', '/v1', 'deny', null, 'malformed'],
    ['G T', 'https://api.example.com/', 'deny', null, 'malformed'],
    ['GET', 'wss://ws.example.com/socket', 'allow', 'chat', null],
    ['GET', 'ws://ws.example.com/socket', 'allow', 'chat', null],
    ['GET', 'wss://api.example.com/socket', 'deny', null, 'upgrade_denied'],
    ['POST', 'https://mail.example.com/', 'allow', 'mail', null],
    ['DELETE', 'https://updates.example.org/x', 'allow', 'pinned', null],
    ['GET', 'http://updates.example.org/x', 'deny', null, 'no_matching_rule'],
    ['GET', 'https://8.8.8.8/', 'allow', 'read', null],
    ['GET', 'http://169.254.169.254/latest/', 'deny', null, 'address_denied'],
    ['GET', 'http://127.0.0.1:3128/', 'deny', null, 'self'],
    ['GET', 'https://127.0.0.1/', 'deny', null, 'self'],
    ['GET', 'http://10.0.0.9:8080/', 'deny', null, 'self'],
    ['GET', 'http://10.0.0.9/', 'allow', 'read', null],
  ])('%s %s: %s by %s %s', (method, url, decision, rule, reason) => {
    expect(judgeRequest(enforcing, 'anonymous', method, url)).toMatchObject({ decision, rule, reason, method, url })
  })

  it('says which conditions an answer rests on', () => {
    const { conditions, why } = judgeRequest(enforcing, 'anonymous', 'POST', 'https://mail.example.com/')
    expect(conditions).toEqual([{ path: '$.Bcc', must: 'be-absent' }])
    expect(why).toContain('if the body')
  })

  it('a shape that is only learned is no condition', () => {
    const { conditions, why } = judgeRequest(enforcing, 'anonymous', 'POST', 'https://shaped.example.com/')
    expect({ conditions, why }).toEqual({ conditions: [], why: 'rule shaped matches' })
  })

  it('tells the anonymous of a client that may, and a client of nobody else', () => {
    const url = 'https://keyed.example.com/'
    expect(judgeRequest(enforcing, 'anonymous', 'GET', url).hint).toContain('client keyed may')
    expect(judgeRequest(enforcing, 'keyed', 'GET', url)).toMatchObject({ decision: 'allow', rule: 'keyed-only' })
    expect(judgeRequest(enforcing, 'keyed', 'GET', 'http://keyed.example.com/').hint).not.toContain('client keyed may')
  })

  it('in observe mode still says no, and that it is not enforced where policy said it', () => {
    const judged = (url: string) => judgeRequest(observing, 'anonymous', 'GET', url)
    expect(judged('https://other.example.net/')).toMatchObject({ decision: 'deny', enforced: false })
    expect(judged('http://169.254.169.254/')).toMatchObject({ decision: 'deny', enforced: true })
    expect(judged('https://api.example.com//')).toMatchObject({ decision: 'deny', enforced: true })
  })
})
