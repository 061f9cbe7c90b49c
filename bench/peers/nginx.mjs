// nginx that only ends TLS and begins it again: the floor, below which no proxy of any kind comes.
import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { fill, versionOf } from '../template.mjs'

export const peer = {
  name: 'nginx',
  label: 'nginx (floor: no inspection)',
  doors: ['transparent'],
  h2: true,
  version: () => versionOf('nginx', '-v'),
  missing: () => (spawnSync('nginx', ['-v']).status === 0 ? null : 'apt-get install -y nginx-light'),
  async start(lab, { folder, cpu }) {
    const transparentPort = lab.port()
    const file = join(folder, 'nginx.conf')
    const [certificate, key] = ['leaf.pem', 'leaf.key'].map((name) => join(folder, name))
    copyFileSync(lab.leaf.certificate, certificate)
    copyFileSync(lab.leaf.key, key)
    lab.giveTo(lab.uids.proxy, folder)
    fill(new URL('./nginx.conf', import.meta.url), file, {
      TRANSPARENT_PORT: transparentPort,
      FOLDER: folder,
      ORIGIN: `${lab.origin.address}:${lab.origin.port}`,
      CERTIFICATE: certificate,
      KEY: key,
      ROOT: lab.root,
    })
    const { pid, stop } = await lab.spawn(['nginx', '-p', folder, '-c', file], {
      cpu,
      cwd: folder,
      ready: [transparentPort],
    })
    return { transparentPort, ca: lab.root, pids: () => [pid], stop }
  },
}
