// What a jailed command sees of the file system, as a plan.

import { describe, expect, it } from 'vitest'
import { jailMounts, type JailSurroundings, type MountStep } from '../../src/jail/run/mounts.ts'

const AROUND: JailSurroundings = {
  hostname: 'box',
  runLinks: [],
  unixSockets: [],
  resolvConf: '/etc/resolv.conf',
  hosts: '/etc/hosts',
  runtimeDirectory: null,
  privateDirectory: '/home/u/app/certs/private',
  auditFiles: ['/home/u/app/logs/audit.jsonl', '/home/u/app/logs/audit.jsonl.lock'],
  auditDirectory: '/home/u/app/logs',
  cwd: '/home/u/app',
}

const plan = (changes: Partial<JailSurroundings>): MountStep[] => jailMounts({ ...AROUND, ...changes })
const targets = (steps: readonly MountStep[], source: string): string[] =>
  steps.flatMap((step) => (step.kind === 'bind' && step.source === source ? [step.target] : []))

describe('what a jail hides', () => {
  it('empties /run first, and what has to be there comes after it', () => {
    const steps = plan({
      runLinks: [{ path: '/run/current-system', to: '/nix/store/x' }],
      runtimeDirectory: { path: '/run/user/1000', uid: 1000, gid: 1000 },
    })
    expect(steps[0]).toMatchObject({ kind: 'empty', target: '/run' })
    expect(steps).toContainEqual({ kind: 'symlink', path: '/run/current-system', to: '/nix/store/x' })
    expect(steps).toContainEqual({ kind: 'folder', path: '/run/user', uid: 0, gid: 0 })
    expect(steps).toContainEqual({ kind: 'folder', path: '/run/user/1000', uid: 1000, gid: 1000 })
  })

  it('hides each Unix socket outside of /run', () => {
    const steps = plan({ unixSockets: ['/run/docker.sock', '/tmp/.X11-unix/X0', '/var/lib/gssproxy/default.sock'] })
    expect(targets(steps, '/dev/null')).toEqual(['/tmp/.X11-unix/X0', '/var/lib/gssproxy/default.sock'])
  })

  it('does not take a folder that only begins like /run for one below it', () => {
    expect(targets(plan({ unixSockets: ['/running/x.sock'] }), '/dev/null')).toEqual(['/running/x.sock'])
  })

  it('refuses rather than hiding some sockets only', () => {
    const unixSockets = Array.from({ length: 1_025 }, (_, index) => `/tmp/${index}.sock`)
    expect(() => plan({ unixSockets })).toThrow('1025 Unix sockets')
  })

  it('empties the folders of the keys and of the trail', () => {
    const emptied = plan({}).flatMap((step) => (step.kind === 'empty' ? [step.target] : []))
    expect(emptied).toEqual(['/run', '/home/u/app/certs/private', '/home/u/app/logs'])
  })

  it.each(['/home/u/app/logs', '/home/u/app/logs/deeper'])(
    'hides the trail file by file for a command that works in its folder (%s)',
    (cwd) => {
      const steps = plan({ cwd })
      expect(targets(steps, '/dev/null')).toEqual(AROUND.auditFiles)
      expect(steps).not.toContainEqual(expect.objectContaining({ kind: 'empty', target: '/home/u/app/logs' }))
    },
  )
})

describe('where names come from', () => {
  it('binds its own resolv.conf and hosts over those of the system', () => {
    const steps = plan({})
    expect(targets(steps, '/run/mcp-egress/resolv.conf')).toEqual(['/etc/resolv.conf'])
    expect(targets(steps, '/run/mcp-egress/hosts')).toEqual(['/etc/hosts'])
    expect(steps).toContainEqual(
      expect.objectContaining({ content: expect.stringContaining('nameserver 127.0.0.1\n') }),
    )
  })

  it('writes resolv.conf anew where it was below /run', () => {
    const place = '/run/systemd/resolve/stub-resolv.conf'
    const steps = plan({ resolvConf: place })
    const at = (wanted: Partial<MountStep>): number =>
      steps.findIndex((step) => Object.entries(wanted).every(([key, value]) => step[key as keyof MountStep] === value))
    expect(at({ kind: 'folder', path: '/run/systemd' })).toBeGreaterThan(0)
    expect(at({ kind: 'folder', path: '/run/systemd/resolve' })).toBeLessThan(at({ kind: 'file', path: place }))
    expect(targets(steps, '/run/mcp-egress/resolv.conf')).toEqual([])
  })

  it('does without the files that are not there', () => {
    const steps = plan({ resolvConf: null, hosts: null })
    expect(steps.filter(({ kind }) => kind === 'file' || kind === 'bind')).toEqual([])
  })

  it('has nothing in the hosts file but the machine itself', () => {
    const file = plan({}).find((step) => step.kind === 'file' && step.path.endsWith('/hosts'))
    expect(file).toMatchObject({
      content: '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 box\n',
    })
  })
})
