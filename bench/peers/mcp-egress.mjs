// mcp-egress, as its users start it: the built command with a configuration file.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fill, packageVersion, versionOf } from '../template.mjs'

const TREE = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = join(TREE, 'dist/cli/main.js')
const OTHER_RULES = 99

function otherRule(index) {
  const hosts = index % 3 === 2 ? '**.bench.example' : `api-${index}.example.com`
  return `  - { id: other-${index}, allow: { hosts: ["${hosts}"], methods: [GET, POST], paths: ["/other/${index}/**"] } }`
}

/**
 * The same on another Node.js.
 * @param {string} node Path of the executable.
 * @param {string} name
 */
function on(node, name) {
  return {
    name,
    label: name,
    doors: ['transparent', 'connect'],
    h2: true,
    version: () => `${packageVersion(TREE)} on Node ${versionOf(node, '--version')}`,
    missing: () => (existsSync(MAIN) ? null : 'not built: npm run build'),
    async start(lab, { folder, cpu }) {
      const [transparentPort, connectPort] = [lab.port(), lab.port()]
      const file = join(folder, 'mcp-egress.yaml')
      fill(new URL('./mcp-egress.yaml', import.meta.url), file, {
        CONNECT_PORT: connectPort,
        TRANSPARENT_PORT: transparentPort,
        OTHER_RULES: Array.from({ length: OTHER_RULES }, (_, index) => otherRule(index)).join('\n'),
        ROOT: lab.root,
      })
      const { pid, stop } = await lab.spawn([node, MAIN, 'proxy', '-c', file], {
        cpu,
        cwd: folder,
        ready: [transparentPort, connectPort],
      })
      return { transparentPort, connectPort, ca: join(folder, 'certs', 'ca.pem'), pids: () => [pid], stop }
    },
  }
}

export const peer = on(process.execPath, 'mcp-egress')

/** One more row for each path in MCP_EGRESS_BENCH_NODES, separated by commas. */
export const others = (process.env.MCP_EGRESS_BENCH_NODES ?? '')
  .split(',')
  .filter(Boolean)
  .map((node) => {
    return on(node, `mcp-egress@${versionOf(node, '--version').split('.')[0]}`)
  })
