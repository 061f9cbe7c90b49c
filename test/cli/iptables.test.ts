// The verb `iptables`: what its flags become, what it refuses, what it prints.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { EXIT, ExitError } from '../../src/cli/exit.ts'
import { iptablesCommand, type RedirectListeners } from '../../src/cli/iptables.ts'

const LISTENERS: RedirectListeners = {
  transparent: [
    { kind: 'tcp', host: '127.0.0.1', port: 15001 },
    { kind: 'tcp', host: '::1', port: 15001 },
  ],
  dns: [],
  adminPorts: [9901],
}

interface Ended {
  readonly out: string
  readonly error: ExitError | null
  readonly configFile: string | undefined
}

function run(args: readonly string[], listeners: RedirectListeners = LISTENERS): Ended {
  let out = ''
  let configFile: string | undefined
  const load = (file: string | undefined): RedirectListeners => {
    configFile = file
    return listeners
  }
  const command = iptablesCommand(load, { out: (text) => (out += text) })
  try {
    command.parse(args, { from: 'user' })
    return { out, error: null, configFile }
  } catch (error) {
    if (error instanceof ExitError) return { out, error, configFile }
    throw error
  }
}

describe('print', () => {
  it('prints a script for both families, from the listeners of the file named', () => {
    const { out, error, configFile } = run([
      'print',
      '-c',
      'policy.yaml',
      '--proxy-uid',
      '998',
      '--workload-uid',
      '1000,2000-2999',
    ])
    expect(error).toBeNull()
    expect(configFile).toBe('policy.yaml')
    expect(out).toMatch(/^#!\/bin\/sh\n/)
    expect(out).toContain('-A MCP_EGRESS_OUT -m owner --uid-owner 998 -j RETURN\n')
    expect(out).toContain('-A MCP_EGRESS_OUT -m owner --uid-owner 2000-2999 -g MCP_EGRESS_REDIRECT\n')
    expect(out).toContain('-A MCP_EGRESS_WORKLOAD -p tcp --dport 9901 -j REJECT')
    expect(out).toContain('ip6tables-restore --noflush')
  })

  it('looks names of users up', () => {
    expect(run(['print', '--proxy-uid', 'nobody']).out).toMatch(/--uid-owner 65534 -j RETURN/)
  })

  it('prints the same rules as JSON', () => {
    const { out } = run(['print', '--json', '--proxy-uid', '998', '--dns', '192.0.2.53'])
    const printed = JSON.parse(out) as { notes: string[]; rules: { family: string; chains: { name: string }[] }[] }
    expect(printed.rules.map(({ family }) => family)).toContain('v4')
    expect(printed.rules[0]?.chains.map(({ name }) => name)).toContain('MCP_EGRESS_REDIRECT')
    expect(printed.notes.join('\n')).toContain('to 192.0.2.53')
  })

  it('prints for the back end asked for', () => {
    expect(run(['print', '--proxy-uid', '998', '--backend', 'legacy']).out).toContain(
      'ip6tables-legacy-restore --noflush',
    )
    const { out } = run(['print', '--proxy-uid', '998', '--backend', 'nft'])
    expect(out).toMatch(/^#!\/usr\/sbin\/nft -f\n# /)
    expect(out).toContain('delete table ip6 mcp_egress\n')
    expect(out).toContain('meta skuid 998 return\n')
    const printed = JSON.parse(run(['print', '--json', '--proxy-uid', '998', '--backend', 'nft']).out) as {
      backend: string
      rules: { chains: { rules: string[] }[] }[]
    }
    expect(printed.backend).toBe('nft')
    expect(printed.rules[0]?.chains.flatMap(({ rules }) => rules)).toContain('meta l4proto tcp redirect to :15001')
  })

  it('leads questions to the DNS listener where there is one, unless told otherwise', () => {
    const dns: RedirectListeners['dns'] = [
      { kind: 'tcp', host: '127.0.0.1', port: 15053 },
      { kind: 'tcp', host: '::1', port: 15053 },
    ]
    const led = '-p udp --dport 53 -j REDIRECT --to-ports 15053\n'
    expect(run(['print', '--proxy-uid', '998'], { ...LISTENERS, dns }).out).toContain(led)
    expect(run(['print', '--proxy-uid', '998', '--dns', 'proxy'], { ...LISTENERS, dns }).out).toContain(led)
    expect(run(['print', '--proxy-uid', '998', '--dns', 'allow'], { ...LISTENERS, dns }).out).not.toContain(led)
    const { error } = run(['print', '--proxy-uid', '998', '--dns', 'proxy'])
    expect(error?.code).toBe(EXIT.usage)
    expect(error?.message).toContain('add "127.0.0.1:15053" to listen.dns')
  })

  it('serves a gateway', () => {
    const listeners: RedirectListeners = {
      transparent: [{ kind: 'tcp', host: '::', port: 15001 }],
      dns: [],
      adminPorts: [],
    }
    const { out } = run(['print', '--mode', 'prerouting', '--in-interface', 'eth1', '--ports', '80,443'], listeners)
    expect(out).toContain('-A MCP_EGRESS_PRE -p tcp --dport 443 -j REDIRECT --to-ports 15001\n')
  })
})

describe('the proxy user', () => {
  it.each<[string, number, RegExp]>([
    ['is the caller', 1000, /^#!.*--uid-owner 1000 -j RETURN/s],
    ['is never root unasked', 0, /name the user it runs as with --proxy-uid/],
  ])('%s', (_sentence, uid, answer) => {
    const getuid = vi.spyOn(process, 'getuid').mockReturnValue(uid)
    const { out, error } = run(['print'])
    getuid.mockRestore()
    expect(error?.message ?? out).toMatch(answer)
  })
})

describe('a bad command line', () => {
  it.each<[string, string[], RegExp]>([
    ['a user that is not there', ['--proxy-uid', 'no-such-user-here'], /there is no user "no-such-user-here" here/],
    ['a user name that would be an option', ['--proxy-uid=--help'], /there is no user "--help"/],
    ['an empty range', ['--proxy-uid', '998', '--workload-uid', '9-3'], /write 3-9/],
    ['a port that is a word', ['--proxy-uid', '998', '--ports', '80,https'], /"https" is not a port/],
    [
      'a resolver by name',
      ['--proxy-uid', '998', '--dns', 'dns.example'],
      /resolver "dns.example" is not an IP address/,
    ],
  ])('%s', (_sentence, args, message) => {
    const { error, out } = run(['print', ...args])
    expect(out).toBe('')
    expect(error?.code).toBe(EXIT.usage)
    expect(error?.message).toMatch(message)
  })
})

it('apply refuses rules that no listener serves, before it touches a rule', () => {
  const { error } = run(['apply', '--proxy-uid', '998'], {
    transparent: [{ kind: 'tcp', host: '192.0.2.1', port: 15001 }],
    dns: [],
    adminPorts: [],
  })
  expect(error?.code).toBe(EXIT.usage)
  expect(error?.message).toContain('no transparent listener serves redirected IPv4 connections')
})

describe('with tools that only note what they were asked', () => {
  let folder: string
  let path: string | undefined

  function tools(body: string): void {
    const names = ['iptables', 'ip6tables'].flatMap((tool) =>
      ['', '-nft', '-legacy'].flatMap((kind) => ['', '-restore', '-save'].map((verb) => `${tool}${kind}${verb}`)),
    )
    for (const tool of [...names, 'nft']) {
      const version = `[ "$1" = --version ] && echo "$(basename "$0") v1.8.9 (nf_tables)" && exit`
      // What is asked is read to its end: a tool that leaves early breaks the pipe.
      writeFileSync(join(folder, tool), `#!/bin/sh\ncat >/dev/null\n${version}\n${body}\n`, { mode: 0o755 })
    }
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-tools-'))
    path = process.env['PATH']
    process.env['PATH'] = `${folder}:${path ?? ''}`
  })

  afterEach(() => {
    process.env['PATH'] = path
    rmSync(folder, { recursive: true, force: true })
  })

  it('apply lists, tries every family, then changes them', () => {
    tools(`echo "$(basename "$0") $*" >> ${folder}/asked`)
    const { out, error } = run(['apply', '--json', '--proxy-uid', '998'])
    expect(error).toBeNull()
    const asked = readFileSync(join(folder, 'asked'), 'utf8').trim().split('\n')
    const restores = asked.filter((line) => line.includes('-restore')).map((line) => line.includes('--test'))
    const families = restores.length / 2
    expect(restores).toEqual([...Array<boolean>(families).fill(true), ...Array<boolean>(families).fill(false)])
    expect(families).toBeGreaterThan(0)
    expect((JSON.parse(out) as { applied: { chains: string[] }[] }).applied[0]?.chains).toContain('MCP_EGRESS_OUT')
  })

  it('remove changes nothing where nothing of ours is', () => {
    tools(`echo "$(basename "$0") $*" >> ${folder}/asked`)
    expect(run(['remove']).out).toBe('There were no rules of ours.\n')
    expect(readFileSync(join(folder, 'asked'), 'utf8')).not.toContain('restore')
  })

  it.each([[['apply', '--proxy-uid', '998']], [['remove']]])('%j fails at run time with what the tool said', (args) => {
    tools('echo "Permission denied (you must be root)" >&2; exit 4')
    const { error } = run(args)
    expect(error?.code).toBe(EXIT.failure)
    expect(error?.message).toMatch(/^iptables(?: -w 5 -t filter -S|-save ?): Permission denied \(you must be root\)/)
  })
})
