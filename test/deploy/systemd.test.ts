// The units of examples/systemd: what systemd says of them, and that they fit the program and each other.

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Config, formatListenAddress, loadConfig } from '../../src/config/load.ts'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { runtimeEnvironment } from '../../src/tls/runtime-env.ts'
import { COMMAND } from '../e2e/support/spawner.ts'
import { readUnit, UNITS } from './support/unit-file.ts'

const SERVICES = readdirSync(UNITS).filter((name) => name.endsWith('.service'))
const SOCKETS = readdirSync(UNITS).filter((name) => name.endsWith('.socket'))
const TIMERS = readdirSync(UNITS).filter((name) => name.endsWith('.timer'))
/** What the proxy's own unit may be exposed, of 10; everything from 2.0 on systemd calls no more than OK. */
const MOST_EXPOSED = 2

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function policy(): Config {
  const loaded = loadConfig(join(UNITS, 'mcp-egress.yaml'), {})
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

/** The units in a folder of their own, with a workload and its drop-in; `change` plants a fault in one of them. */
function installed(change: (name: string, text: string) => string = (_name, text) => text): string {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-units-'))
  folders.push(folder)
  const command = join(folder, 'mcp-egress')
  writeFileSync(command, '#!/bin/sh\n')
  chmodSync(command, 0o755)
  for (const name of [...SERVICES, ...SOCKETS, ...TIMERS]) {
    // verify looks for the programs, and this machine has none installed.
    writeFileSync(join(folder, name), change(name, readUnit(name).text).replaceAll('/usr/bin/mcp-egress', command))
  }
  writeFileSync(join(folder, 'example.service'), '[Service]\nExecStart=/bin/true\n')
  mkdirSync(join(folder, 'example.service.d'))
  writeFileSync(
    join(folder, 'example.service.d/mcp-egress.conf'),
    change('workload.conf', readUnit('workload.conf').text),
  )
  return folder
}

function analyze(folder: string, ...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, {
    encoding: 'utf8',
    // The colon: after these the units of this machine, for the targets.
    env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:`, SYSTEMD_COLORS: '0' },
  })
  return { code: status, stdout, stderr }
}

function verify(folder: string): { code: number | null; stderr: string } {
  const units = [...SERVICES, ...SOCKETS, ...TIMERS, 'example.service'].map((name) => join(folder, name))
  const { code, stderr } = analyze(folder, 'verify', ...units)
  // What it says of units of this machine is not about ours.
  const ours = stderr.split('\n').filter((line) => line.includes(folder) || /mcp-egress|example\.service/.test(line))
  return { code, stderr: ours.join('\n') }
}

function exposure(folder: string, unit: string): number {
  const { stdout } = analyze(folder, 'security', '--offline=true', join(folder, unit))
  return Number(/Overall exposure level for .*: (\d+\.\d+)/.exec(stdout)?.[1])
}

const analyzable = spawnSync('systemd-analyze', ['security', '--help']).status === 0
if (!analyzable) process.stderr.write('checks of the units by systemd-analyze are SKIPPED: it is not installed\n')

describe.skipIf(!analyzable)('systemd-analyze', () => {
  it('finds nothing wrong', () => {
    expect(verify(installed())).toEqual({ code: 0, stderr: '' })
  })

  it.each([
    ['mcp-egress.service', MOST_EXPOSED],
    // Root, with the capability to change rules.
    ['mcp-egress-iptables.service', 3],
    ['mcp-egress-tproxy.service', 3],
    ['mcp-egress-prune.service', 1.5],
    ['example.service', 5],
  ])('%s is exposed less than %d of 10', (unit, most) => {
    const level = exposure(installed(), unit)
    expect(level).toBeGreaterThan(0)
    expect(level).toBeLessThan(most)
  })

  it.each([
    ['a misspelt setting', 'mcp-egress.service', 'NoNewPrivileges=', 'NoNewPrivilege=', /NoNewPrivilege/],
    [
      'a value that is none',
      'mcp-egress.service',
      'ProtectSystem=strict',
      'ProtectSystem=stict',
      /protect system value.*stict/,
    ],
    ['a misspelt setting of a socket', 'mcp-egress-tproxy.socket', 'Transparent=', 'Transparant=', /Transparant/],
    [
      'a misspelt setting of the drop-in',
      'workload.conf',
      'RestrictNamespaces=',
      'RestrictNamespace=',
      /RestrictNamespace/,
    ],
  ])('would find %s', (_what, unit, from, to, message) => {
    const folder = installed((name, text) => (name === unit ? text.replace(from, to) : text))
    expect(verify(folder).stderr).toMatch(message)
  })

  it.each(['CapabilityBoundingSet=\n', 'SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n'])(
    'sees the level rise without %j',
    (setting) => {
      const without = installed((name, text) => (name === 'mcp-egress.service' ? text.replace(setting, '') : text))
      expect(exposure(without, 'mcp-egress.service')).toBeGreaterThan(exposure(installed(), 'mcp-egress.service'))
    },
  )
})

describe('the program', () => {
  const commands = SERVICES.flatMap((name) => {
    const unit = readUnit(name)
    const all = ['ExecStartPre', 'ExecStart', 'ExecStartPost', 'ExecReload', 'ExecStop'].flatMap((setting) =>
      unit.all('Service', setting),
    )
    return all.flatMap((line) =>
      [...line.matchAll(/\/usr\/bin\/mcp-egress ([^;'2]*)/g)].map(([, args = '']): [string, string] => [
        name,
        args.trim(),
      ]),
    )
  })

  it('is in every unit but the one that is nft and ip', () => {
    expect(new Set(commands.map(([name]) => name))).toEqual(
      new Set(SERVICES.filter((name) => name !== 'mcp-egress-tproxy.service')),
    )
  })

  it.each(commands)('%s: has `mcp-egress %s`', (_name, args) => {
    const words = args.split(' ')
    const verbs = words.slice(0, words.findIndex((word) => word.startsWith('-')) >>> 0)
    const { status, stdout } = spawnSync(process.execPath, [COMMAND, ...verbs, '--help'], { encoding: 'utf8' })
    expect(status).toBe(0)
    expect(stdout).toContain(`Usage: mcp-egress ${verbs.join(' ')}`)
    for (const flag of words.filter((word) => word.startsWith('-'))) expect(stdout).toMatch(new RegExp(`${flag}[ ,]`))
  })

  it('has a policy that is valid and passes its own tests', () => {
    for (const verb of ['validate-config', 'test']) {
      const args = [COMMAND, verb, '-c', join(UNITS, 'mcp-egress.yaml')]
      expect(spawnSync(process.execPath, args).status).toBe(0)
    }
  })
})

describe('the units fit', () => {
  const service = readUnit('mcp-egress.service')
  const streams = (name: string): string[] => readUnit(name).all('Socket', 'ListenStream')

  it('the addresses of the policy, by doors that the program knows', () => {
    const { listen } = policy()
    expect(streams('mcp-egress-proxy.socket')).toEqual(listen.proxy.map(formatListenAddress))
    expect(streams('mcp-egress-transparent.socket')).toEqual(listen.transparent.map(formatListenAddress))
    expect(SOCKETS.map((name) => readUnit(name).one('Socket', 'FileDescriptorName'))).toEqual([
      'proxy',
      'tproxy',
      'transparent',
    ])
    for (const name of SOCKETS) expect(readUnit(name).one('Socket', 'Service')).toBe('mcp-egress.service')
  })

  it('the folders of the policy, which the service may write', () => {
    const { caDirectory, audit, listen } = policy()
    expect(caDirectory).toBe(`/var/lib/${service.one('Service', 'StateDirectory')}`)
    expect(audit.path.startsWith(`/var/log/${service.one('Service', 'LogsDirectory')}/`)).toBe(true)
    expect(listen.admin).toEqual([
      { kind: 'unix', path: `/run/${service.one('Service', 'RuntimeDirectory')}/admin.sock` },
    ])
  })

  it('the grace of the policy, which systemd waits for', () => {
    const patience = Number(service.one('Service', 'TimeoutStopSec')) * 1000
    // What was cut off still writes its end.
    expect(patience).toBeGreaterThan(policy().shutdownGraceMs + 2000)
  })

  it('one user for the proxy and another for workloads, both made by sysusers.d', () => {
    const users = [...readFileSync(join(UNITS, 'mcp-egress.sysusers.conf'), 'utf8').matchAll(/^u (\S+)/gm)]
    expect(users.map(([, name]) => name)).toEqual(['mcp-egress', 'mcp'])
    expect(service.one('Service', 'User')).toBe('mcp-egress')
    expect(readUnit('workload.conf').one('Service', 'User')).toBe('mcp')
    const rules = readUnit('mcp-egress-iptables.service')
    for (const setting of ['ExecStart', 'ExecReload']) {
      expect(rules.one('Service', setting)).toContain('--proxy-uid mcp-egress --workload-uid mcp ')
    }
  })

  it('rules before the network, workloads after the rules and only with them', () => {
    expect(readUnit('mcp-egress-iptables.service').one('Unit', 'Before').split(' ')).toContain('network-pre.target')
    const workload = readUnit('workload.conf')
    expect(workload.one('Unit', 'Requires')).toBe('mcp-egress-iptables.service')
    expect(workload.one('Unit', 'After').split(' ')).toContain('mcp-egress-iptables.service')
  })

  it('no capability for the proxy, nor for a workload', () => {
    for (const unit of [service, readUnit('workload.conf')]) {
      expect([unit.one('Service', 'CapabilityBoundingSet'), unit.one('Service', 'AmbientCapabilities')]).toEqual([
        '',
        '',
      ])
      expect(unit.one('Service', 'NoNewPrivileges')).toBe('yes')
    }
  })

  it('a workload with the environment that `ca env` prints', () => {
    const given = readUnit('workload.conf')
      .all('Service', 'Environment')
      .map((line) => line.replace(/^"(.*)"$/, '$1'))
      .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
    const paths = authorityPaths(policy().caDirectory)
    expect(Object.fromEntries(given)).toEqual(runtimeEnvironment({ ...paths, proxyUrl: 'http://127.0.0.1:3128' }))
  })

  it('TPROXY rules that lead to the sockets of the unit, by the mark of the routes', () => {
    const rules = readFileSync(join(UNITS, 'tproxy.nft'), 'utf8')
    const targets = [...rules.matchAll(/tproxy ip6? to (\S+) meta mark set (\S+) accept/g)]
    expect(targets.map(([, address]) => address)).toEqual(streams('mcp-egress-tproxy.socket'))
    const marks = new Set(targets.map(([, , mark]) => mark))
    const routes = readUnit('mcp-egress-tproxy.service').text
    expect([...routes.matchAll(/rule add fwmark (\S+) lookup (\d+)/g)].map(([, mark, table]) => [mark, table])).toEqual(
      [
        [...marks, '15002'],
        [...marks, '15002'],
      ],
    )
    expect([...routes.matchAll(/-([46]) route replace local default dev lo table 15002/g)].map(([, v]) => v)).toEqual([
      '4',
      '6',
    ])
    expect(readUnit('mcp-egress-tproxy.socket').one('Socket', 'Transparent')).toBe('yes')
  })
})
