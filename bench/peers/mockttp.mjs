// mockttp, an intercepting proxy for tests. It is no dependency of ours, and needs Node.js 22 or later.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageVersion, versionOf } from '../template.mjs'

const SERVER = fileURLToPath(new URL('./mockttp-server.mjs', import.meta.url))
const OLDEST_NODE = 22
const PACKAGES = process.env.MCP_EGRESS_BENCH_MOCKTTP
const NODE = process.env.MCP_EGRESS_BENCH_NODE24 ?? process.execPath

function missing() {
  if (PACKAGES === undefined || !existsSync(join(PACKAGES, 'node_modules', 'mockttp'))) {
    return 'npm install --prefix FOLDER mockttp, then MCP_EGRESS_BENCH_MOCKTTP=FOLDER'
  }
  return Number.parseInt(versionOf(NODE, '--version'), 10) >= OLDEST_NODE
    ? null
    : `needs Node.js ${OLDEST_NODE}: MCP_EGRESS_BENCH_NODE24=PATH`
}

export const peer = {
  name: 'mockttp',
  label: 'mockttp',
  doors: ['connect'],
  slow: true,
  version: () => `${packageVersion(join(PACKAGES, 'node_modules', 'mockttp'))} on Node ${versionOf(NODE, '--version')}`,
  missing,
  async start(lab, { folder, cpu }) {
    const connectPort = lab.port()
    const command = [NODE, SERVER, PACKAGES, folder, lab.root, String(connectPort)]
    const { pid, stop } = await lab.spawn(command, { cpu, cwd: folder, ready: [connectPort] })
    return { connectPort, ca: join(folder, 'ca.pem'), pids: () => [pid], stop }
  },
}
