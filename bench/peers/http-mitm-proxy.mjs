// http-mitm-proxy, the package that is closest by its purpose; it reads no SNI, so it has the CONNECT door alone.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageVersion } from '../template.mjs'

const SERVER = fileURLToPath(new URL('./http-mitm-proxy-server.mjs', import.meta.url))
const PACKAGE = fileURLToPath(new URL('../../node_modules/http-mitm-proxy/', import.meta.url))

export const peer = {
  name: 'http-mitm-proxy',
  label: 'http-mitm-proxy',
  doors: ['connect'],
  slow: true,
  version: () => packageVersion(PACKAGE),
  missing: () => (existsSync(PACKAGE) ? null : 'npm install'),
  async start(lab, { folder, cpu }) {
    const connectPort = lab.port()
    const command = [process.execPath, SERVER, folder, lab.root, String(connectPort)]
    const { pid, stop } = await lab.spawn(command, { cpu, cwd: folder, ready: [connectPort] })
    return { connectPort, ca: join(folder, 'certs', 'ca.pem'), pids: () => [pid], stop }
  },
}
