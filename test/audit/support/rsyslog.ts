// A real rsyslog in the foreground, with a configuration, a folder and a loopback port of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './until.ts'

const COMMAND = '/usr/sbin/rsyslogd'
const GNUTLS = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/rsyslog/lmnsd_gtls.so`)

/** Whether it is installed; said aloud where it is not. */
export const rsyslogPossible: boolean = existsSync(COMMAND) && GNUTLS.some((file) => existsSync(file))
if (!rsyslogPossible)
  process.stderr.write('syslog tests against rsyslog are SKIPPED: apt-get install rsyslog rsyslog-gnutls\n')

export interface Received {
  readonly severity: string
  readonly app: string
  readonly id: string
  readonly data: string
  readonly text: string
}

export interface Rsyslog {
  readonly port: number
  received(): Received[]
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Begins again on the same port, with what it wrote before. */
  restart(): Promise<void>
  close(): Promise<void>
}

export interface RsyslogTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
  /** Asks the client for a certificate of that CA. */
  readonly mutual?: boolean
}

const START_DEADLINE_MS = 20_000

export async function startRsyslog(tls: RsyslogTls | null): Promise<Rsyslog> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-rsyslog-'))
  const portFile = join(folder, 'port')
  const out = join(folder, 'out')
  let child: ChildProcess | null = null
  const start = async (port: number): Promise<number> => {
    rmSync(portFile, { force: true })
    rmSync(join(folder, 'pid'), { force: true })
    writeFileSync(join(folder, 'rsyslog.conf'), configuration(folder, port, tls))
    const args = ['-n', '-f', join(folder, 'rsyslog.conf'), '-i', join(folder, 'pid')]
    const running = spawn(COMMAND, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    child = running
    let said = ''
    running.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    let found = port
    await until(
      'rsyslog to listen',
      async () => {
        if (running.exitCode !== null) throw new Error(`rsyslog ended: ${said}`)
        // The file is written only for a port that was not asked for, and not in one go.
        if (port === 0) found = existsSync(portFile) ? Number.parseInt(readFileSync(portFile, 'latin1'), 10) || 0 : 0
        return found > 0 && (await answers(found))
      },
      START_DEADLINE_MS,
    )
    return found
  }
  const end = async (): Promise<void> => {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  const port = await start(0)
  return {
    port,
    received: () => (existsSync(out) ? parse(readFileSync(out, 'latin1')) : []),
    kill: async (signal) => {
      if (signal === 'SIGKILL') await end()
      else child?.kill(signal)
    },
    restart: async () => {
      await end()
      await start(port)
    },
    close: async () => {
      await end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function configuration(folder: string, port: number, tls: RsyslogTls | null): string {
  const lines = [`global(workDirectory="${folder}" maxMessageSize="70k"`]
  if (tls !== null) {
    for (const part of ['ca', 'cert', 'key'] as const) writeFileSync(join(folder, `${part}.pem`), tls[part])
    const files = [
      ['CA', 'ca'],
      ['Cert', 'cert'],
      ['Key', 'key'],
    ].map(([name, part]) => ` defaultNetstreamDriver${name}File="${join(folder, `${part}.pem`)}"`)
    lines.push(...files)
  }
  const driver =
    tls === null
      ? ''
      : `streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="${tls.mutual === true ? 'x509/certvalid' : 'anon'}"`
  return `${lines.join('')})
module(load="imtcp" ${driver})
template(name="parts" type="string" string="%syslogseverity-text% %app-name% %msgid% %structured-data% %msg%\\n")
input(type="imtcp" address="127.0.0.1" port="${port}" listenPortFileName="${join(folder, 'port')}")
action(type="omfile" file="${join(folder, 'out')}" template="parts")
`
}

function parse(text: string): Received[] {
  const lines = text.split('\n').slice(0, -1)
  return lines.flatMap((line) => {
    const [, severity = '', app = '', id = '', data = '', message = ''] =
      /^(\S+) (\S+) (\S+) (\[.*?\]) +(\{.*)$/.exec(line) ?? []
    // Its own messages about itself have no data.
    return message === '' ? [] : [{ severity, app, id, data, text: message }]
  })
}
