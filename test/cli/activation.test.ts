// LISTEN_FDS as sd_listen_fds(3) has it: what is ours, what is somebody else's, and what is refused.

import { describe, expect, it } from 'vitest'
import { inheritedSockets } from '../../src/cli/activation.ts'
import { EXIT, ExitError } from '../../src/cli/exit.ts'

const PID = 4242

function given(count: string, names?: string, pid = String(PID)): NodeJS.ProcessEnv {
  return {
    LISTEN_PID: pid,
    LISTEN_FDS: count,
    ...(names === undefined ? {} : { LISTEN_FDNAMES: names }),
    LISTEN_PIDFDID: '77',
    PATH: '/usr/bin',
  }
}

describe('sockets that were handed to us', () => {
  it.each<[string, string, string, [string, number][]]>([
    ['one', '1', 'proxy', [['proxy', 3]]],
    [
      'several of one door, and of others',
      '4',
      'transparent:proxy:transparent:tproxy',
      [
        ['transparent', 3],
        ['proxy', 4],
        ['transparent', 5],
        ['tproxy', 6],
      ],
    ],
    ['the last door', '1', 'gateway', [['gateway', 3]]],
  ])('%s', (_what, count, names, expected) => {
    const env = given(count, names)
    expect(inheritedSockets(env, PID).map(({ door, fd }) => [door, fd])).toEqual(expected)
    expect(env).toEqual({ PATH: '/usr/bin' })
  })
})

describe('no sockets of ours', () => {
  it.each<[string, NodeJS.ProcessEnv]>([
    ['none at all', { PATH: '/usr/bin' }],
    ["a parent's, whose variables were inherited", given('1', 'proxy', '1')],
    ['a pid that only begins like ours', given('1', 'proxy', `${PID}0`)],
    ['a pid without a count', { LISTEN_PID: String(PID), PATH: '/usr/bin' }],
    ['a count without a pid', { LISTEN_FDS: '1', LISTEN_FDNAMES: 'proxy', PATH: '/usr/bin' }],
  ])('%s', (_what, env) => {
    expect(inheritedSockets(env, PID)).toEqual([])
    expect(env).toEqual({ PATH: '/usr/bin' })
  })
})

describe('sockets that can not be told apart', () => {
  it.each<[string, NodeJS.ProcessEnv, RegExp]>([
    ['no names', given('1'), /LISTEN_FDS=1 but LISTEN_FDNAMES has 0 names\n {2}fix: .*FileDescriptorName=/],
    ['fewer names', given('2', 'proxy'), /has 1 names/],
    ['more names', given('1', 'proxy:admin'), /has 2 names/],
    [
      'the name systemd gives by default',
      given('1', 'mcp-egress-proxy.socket'),
      /socket 3 is called "mcp-egress-proxy\.socket".*\n {2}fix: FileDescriptorName= must be one of proxy, transparent/,
    ],
    ['an accepted connection', given('2', 'proxy:connection'), /socket 4 is called "connection".*\n.*Accept=no/],
    [
      'a listener that is no door for requests',
      given('2', 'proxy:admin'),
      /socket 4 is called "admin", which is no door/,
    ],
    ['a name from Object.prototype', given('1', 'constructor'), /"constructor", which is no door/],
    ['an empty name', given('1', ''), /called ""/],
    ['a name that would spoil the log', given('1', 'a\u001b[2J'), /"a\\u001b\[2J"/],
    ['none', given('0', ''), /LISTEN_FDS=0 is not a number of sockets from 1 to 64/],
    ['a word', given('two', 'proxy:proxy'), /LISTEN_FDS=two/],
    ['less than nothing', given('-1', ''), /LISTEN_FDS=-1/],
    ['too many', given('65', Array(65).fill('proxy').join(':')), /LISTEN_FDS=65/],
  ])('%s', (_what, env, message) => {
    let thrown: unknown
    try {
      inheritedSockets(env, PID)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ExitError)
    expect((thrown as ExitError).code).toBe(EXIT.usage)
    expect((thrown as ExitError).message).toMatch(message)
    expect(env).toEqual({ PATH: '/usr/bin' })
  })
})
