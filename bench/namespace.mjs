// A network namespace of the benchmark's own: loopback, names, the redirection of one user; made and removed here.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'

const CONFIGURATION = '/etc/netns'
/** Below them are the ports of peers; thousands of short connections a second need the rest. */
const SETTINGS = {
  'net.ipv4.ip_local_port_range': '10240 65535',
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.tcp_tw_reuse': '1',
  // Each redirected connection is remembered; two minutes of 2,000 a second would fill the table of the whole machine.
  'net.netfilter.nf_conntrack_tcp_timeout_time_wait': '2',
}

/** @returns {string} What it wrote to stdout; throws with what it wrote to stderr. */
export function command(name, ...args) {
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8', timeout: 20_000 })
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
  return stdout
}

/** Null if a namespace can be made here, else what is missing. */
export function obstacle() {
  if (process.platform !== 'linux') return 'the benchmark needs Linux'
  if (process.getuid() !== 0) return 'the benchmark needs root: it makes a network namespace'
  for (const tool of ['ip', 'iptables', 'taskset', 'setpriv', 'sysctl', 'mount', 'nginx', 'openssl']) {
    if (spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0) {
      return `${tool} is missing: apt-get install -y iproute2 iptables util-linux mount procps nginx-light openssl`
    }
  }
  return null
}

/**
 * @param {string} name
 * @param {string} hosts What /etc/hosts holds inside; nothing answers DNS there.
 */
export function openNamespace(name, hosts) {
  const folder = `${CONFIGURATION}/${name}`
  const parentMade = !existsSync(CONFIGURATION)
  const inside = (...args) => command('ip', 'netns', 'exec', name, ...args)
  const close = () => {
    spawnSync('ip', ['netns', 'delete', name])
    rmSync(folder, { recursive: true, force: true })
    if (!parentMade) return
    try {
      rmdirSync(CONFIGURATION)
    } catch {
      // Somebody else's namespace is configured there by now.
    }
  }
  mkdirSync(folder, { recursive: true })
  try {
    writeFileSync(`${folder}/hosts`, hosts)
    writeFileSync(`${folder}/resolv.conf`, 'nameserver 127.0.0.1\noptions attempts:1 timeout:1\n')
    command('ip', 'netns', 'add', name)
    command('ip', '-n', name, 'link', 'set', 'lo', 'up')
    // The first rule loads connection tracking, whose settings do not exist before.
    inside('iptables', '-t', 'nat', '-F', 'OUTPUT')
    for (const [key, value] of Object.entries(SETTINGS)) inside('sysctl', '-q', '-w', `${key}=${value}`)
  } catch (error) {
    close()
    throw error
  }
  return {
    inside,
    /** Whoever is in it, all of them started by the benchmark. */
    pids: () =>
      spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean).map(Number),
    /** Sends what the user asks of port 443 to this port of loopback; null: to where it is addressed. */
    redirect(uid, port) {
      inside('iptables', '-w', '-t', 'nat', '-F', 'OUTPUT')
      if (port === null) return
      const match = ['-p', 'tcp', '-m', 'owner', '--uid-owner', String(uid), '--dport', '443']
      inside('iptables', '-w', '-t', 'nat', '-A', 'OUTPUT', ...match, '-j', 'REDIRECT', '--to-ports', String(port))
    },
    close,
  }
}
