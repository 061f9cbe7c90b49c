// What the guard counts with sockets: the whole proxy as it is built, between a client and an origin in the process that started it.
// Run by run.mjs under callgrind. Each message ends a phase by os.uptime(); only names and the destination before REDIRECT are made up.
import { writeFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { resolve } from 'node:path'
import { startProxy, systemGround } from '../../dist/cli/runtime.js'
import { loadConfig } from '../../dist/config/load.js'
import { rulesOf } from './request.mjs'

const [root, originPort] = process.argv.slice(2)
const rules = rulesOf(100).map(({ id, match }) => ({ id, allow: { ...match, ports: [Number(originPort)] } }))
// JSON is YAML.
const written = {
  version: 1,
  listen: { transparent: '127.0.0.1:0' },
  rules,
  upstream: { trust: [root], allow: ['127.0.0.0/8'] },
}
writeFileSync('mcp-egress.yaml', JSON.stringify(written))
const loaded = loadConfig(resolve('mcp-egress.yaml'), {})
if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
const proxy = await startProxy(loaded.config, {
  ...systemGround(),
  resolver: { resolve: async () => ({ kind: 'addresses', addresses: ['127.0.0.1'] }) },
  originalDestination: () => ({ kind: 'redirected', address: '127.0.0.1', port: Number(originPort) }),
})

process.on('message', () => {
  uptime()
  process.send('marked')
})
process.send({ port: proxy.addresses[0].address.port, ca: resolve('certs/ca.pem') })
