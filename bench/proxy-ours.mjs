// mcp-egress as the benchmark measures it: the built code, enforcing one rule and writing its trail; only names resolve to loopback.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startProxy, systemGround } from '../dist/cli/runtime.js'
import { loadConfig } from '../dist/config/load.js'

const [folder, root, originPort] = process.argv.slice(2)
const file = join(folder, 'mcp-egress.yaml')
writeFileSync(
  file,
  `version: 1
listen: { proxy: "127.0.0.1:0" }
rules:
  - id: bench
    allow: { hosts: ["**.bench.example"], ports: [${originPort}], methods: [GET], paths: ["/v1/**"] }
upstream: { trust: ["${root}"], allow: ["127.0.0.0/8"] }
`,
)
const loaded = loadConfig(file, {})
if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
const resolver = { resolve: async () => ({ kind: 'addresses', addresses: ['127.0.0.1'] }) }
const proxy = await startProxy(loaded.config, { ...systemGround(), resolver })
process.on('disconnect', () => process.exit(0))
process.send({ result: { port: proxy.addresses[0].address.port, ca: join(folder, 'certs/ca.pem') } })
