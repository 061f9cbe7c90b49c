// Squid with ssl-bump: the reference. Debian's squid-openssl, in the foreground, with a configuration of its own.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeAuthority } from '../origin.mjs'
import { fill, versionOf } from '../template.mjs'

const SQUID = '/usr/sbin/squid'
const CERTGEN = '/usr/lib/squid/security_file_certgen'

function missing() {
  // The package squid, without -openssl, has no helper for certificates.
  return existsSync(SQUID) && existsSync(CERTGEN) ? null : 'apt-get install -y squid-openssl'
}

/** Squid with these doors, where `bump` says what it does with TLS. Each door has a port in the configuration, used or not. */
export function squid({ name, label, doors, bump }) {
  return {
    name,
    label,
    doors,
    version: () => versionOf(SQUID, '-v'),
    missing,
    async start(lab, { folder, cpu }) {
      const [transparentPort, connectPort] = [lab.port(), lab.port()]
      const ca = { key: join(folder, 'ca.key'), certificate: join(folder, 'ca.pem') }
      makeAuthority('squid bench CA', ca)
      const authority = join(folder, 'authority.pem')
      writeFileSync(authority, readFileSync(ca.certificate, 'utf8') + readFileSync(ca.key, 'utf8'))
      const file = join(folder, 'squid.conf')
      fill(new URL('./squid.conf', import.meta.url), file, {
        CONNECT_PORT: connectPort,
        TRANSPARENT_PORT: transparentPort,
        AUTHORITY: authority,
        BUMP: bump,
        FOLDER: folder,
        ROOT: lab.root,
      })
      lab.giveTo(lab.uids.proxy, folder)
      const certgen = await lab.run([CERTGEN, '-c', '-s', join(folder, 'leaves'), '-M', '64MB'], {
        uid: lab.uids.proxy,
      })
      if (certgen.status !== 0) throw new Error(`${CERTGEN}: ${certgen.stderr}`)
      const ready = [transparentPort, connectPort]
      const { pid, stop } = await lab.spawn([SQUID, '-N', '-f', file], { cpu, cwd: folder, ready })
      return { transparentPort, connectPort, ca: ca.certificate, pids: () => [pid], stop }
    },
  }
}

export const peer = squid({
  name: 'squid',
  label: 'Squid, peek and bump',
  doors: ['transparent', 'connect'],
  bump: 'ssl_bump peek step1\nssl_bump bump all',
})
