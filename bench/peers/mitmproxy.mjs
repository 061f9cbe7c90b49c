// mitmproxy's mitmdump: version 8 serves one mode a process, so a process for each door. It speaks HTTP/2 to a client only if the origin
// does, so it has no row there.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { versionOf } from '../template.mjs'

const ADDON = fileURLToPath(new URL('./mitmproxy-addon.py', import.meta.url))
const MODES = { transparent: 'transparent', connect: 'regular' }

export const peer = {
  name: 'mitmproxy',
  label: 'mitmproxy',
  doors: ['transparent', 'connect'],
  slow: true,
  version: () => versionOf('mitmdump', '--version'),
  missing: () => (spawnSync('mitmdump', ['--version']).status === 0 ? null : 'apt-get install -y mitmproxy'),
  async start(lab, { folder, cpu, doors = ['transparent', 'connect'] }) {
    const confdir = join(folder, 'ca')
    mkdirSync(confdir)
    lab.giveTo(lab.uids.proxy, folder)
    const ports = {}
    const served = []
    // One after the other: the first makes the CA that both use.
    for (const door of doors) {
      ports[door] = lab.port()
      const settings = {
        confdir,
        mode: MODES[door],
        listen_host: '127.0.0.1',
        listen_port: ports[door],
        ssl_verify_upstream_trusted_ca: lab.root,
        // Dials the origin when there is a request for it, not when a client connects.
        connection_strategy: 'lazy',
        // Nothing else: no event log, no anticache, no flow kept.
        termlog_verbosity: 'error',
      }
      const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])
      const command = ['mitmdump', '-q', '-s', ADDON, ...set]
      const env = { ACCESS_LOG: join(folder, `${door}.jsonl`) }
      served.push(await lab.spawn(command, { cpu, cwd: folder, env, ready: [ports[door]] }))
    }
    return {
      transparentPort: ports.transparent,
      connectPort: ports.connect,
      ca: join(confdir, 'mitmproxy-ca-cert.pem'),
      pids: () => served.map(({ pid }) => pid),
      stop: () => Promise.all(served.map(({ stop }) => stop())),
    }
  },
}
