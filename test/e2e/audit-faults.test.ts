import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { unevenRequests } from '../support/audit-events.ts'
import { type AuditBed, pathsIn, recordedPaths, type RunningBed, startAuditBed } from './support/audit-bed.ts'
import { type Spawner, thisMachine } from './support/spawner.ts'

/** From the repair of the disk to the first request that is served. */
const BACK_WITHIN_MS = 2_000
/** For what only a loaded machine makes slow. */
const PATIENCE_MS = 10_000
const TEST_MS = 60_000

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step()
})

async function bedWith(options: Parameters<typeof startAuditBed>[0] = {}): Promise<AuditBed> {
  const bed = await startAuditBed(options)
  undo.push(() => bed.close())
  return bed
}

/** Asks until it is refused. What was under way when the trail failed is cut off, which is no answer at all. */
async function refusal(running: RunningBed, prefix: string): Promise<void> {
  const started = performance.now()
  const statuses = new Set<number>()
  for (let at = 0; !statuses.has(503); at++) {
    statuses.add(await running.ask(`/${prefix}/${at}`))
    if (performance.now() - started > PATIENCE_MS) throw new Error(`nothing was refused: ${[...statuses].join(' ')}`)
  }
  expect([...statuses].filter((status) => ![0, 200, 503].includes(status))).toEqual([])
}

const without = (seen: Iterable<string>, recorded: ReadonlySet<unknown>): string[] =>
  [...seen].filter((path) => !recorded.has(path))

describe('a file that is gone', () => {
  it.each<[string, (trail: string) => void]>([
    ['removed', (trail) => rmSync(trail)],
    ['removed with its folder', (trail) => rmSync(dirname(trail), { recursive: true })],
    [
      'replaced by another file',
      (trail) => {
        writeFileSync(`${trail}.other`, 'not a trail\n')
        renameSync(`${trail}.other`, trail)
      },
    ],
  ])(
    '%s under load: nothing reaches the origin on account of a record that is in no folder',
    { timeout: TEST_MS },
    async (_what, remove) => {
      const bed = await bedWith()
      const running = await bed.start()
      const trail = running.proxy.trailFile
      await running.served(PATIENCE_MS)
      const load = { stop: false }
      const asked = new Set<string>()
      const clients = Array.from({ length: 4 }, async (_, client) => {
        for (let at = 0; !load.stop; at++) {
          const path = `/load/${client}/${at}`
          asked.add(path)
          await running.ask(path)
        }
      })
      const folder = dirname(trail)
      const files = (): string[] => readdirSync(folder).map((name) => join(folder, name))
      await expect.poll(() => asked.size, { timeout: PATIENCE_MS }).toBeGreaterThan(40)
      // What was asked before this instant may have been recorded in the file that goes.
      remove(trail)
      const before = new Set([...bed.seen, ...asked])
      await running.served(BACK_WITHIN_MS)
      for (let at = 0; at < 20; at++) await running.served(BACK_WITHIN_MS)
      load.stop = true
      await Promise.all(clients)
      expect(await running.proxy.stop()).toBe(0)
      const later = [...bed.seen].filter((path) => !before.has(path))
      expect(later.length).toBeGreaterThan(20)
      expect(
        without(later, pathsIn(files().filter((name) => /\.jsonl/.test(name) && !name.endsWith('.lock')))),
      ).toEqual([])
      const records = readFileSync(trail, 'latin1').split('\n')
      expect(JSON.parse(records[0] ?? '')).toMatchObject({ event: 'segment.opened', cause: 'recovery', previous: null })
      expect(JSON.parse(records[1] ?? '')).toMatchObject({
        event: 'audit.restored',
        cause: 'the file was removed while it was written to',
      })
    },
  )
})

const PRIVATE = ['-m', '--propagation', 'private']
const mayMount = spawnSync('unshare', [...PRIVATE, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
if (!mayMount) console.warn('SKIPPED: full, read-only and hanging disks need mounts of their own (root)')
const hasLoop =
  mayMount &&
  spawnSync('losetup', ['-f']).status === 0 &&
  ['/sbin', '/usr/sbin'].some((at) => existsSync(`${at}/fsfreeze`))
if (mayMount && !hasLoop) console.warn('SKIPPED: disks that hang or turn read-only need loop devices and fsfreeze')

/** A mount namespace of its own, in which `script` has run, with `at` for its mount point. */
function mounting(script: string, at: string): Spawner {
  mkdirSync(at)
  return {
    ...thisMachine,
    spawn: (command, args, options) =>
      thisMachine.spawn('unshare', [...PRIVATE, 'sh', '-ec', `${script}; exec "$@"`, 'sh', command, ...args], options),
  }
}

/** The folder as the process sees it. */
const rootOf = ({ proxy }: RunningBed): string => `/proc/${proxy.pid}/root`
const inside = ({ proxy }: RunningBed, ...command: string[]): void =>
  void execFileSync('nsenter', ['-t', String(proxy.pid), '-m', ...command], { stdio: 'pipe' })

describe.skipIf(!mayMount)('a full disk [K04]', () => {
  it('lets nothing out, cuts what is open, answers /health, and is used again by itself', {
    timeout: TEST_MS,
  }, async () => {
    const bed = await bedWith({ path: 'disk/audit.jsonl' })
    const disk = join(bed.folder, 'disk')
    const running = await bed.start(mounting(`mount -t tmpfs -o size=1m,mode=700 tmpfs ${disk}`, disk))
    const there = join(rootOf(running), disk)
    await running.served(PATIENCE_MS)
    const stream = running.ask('/stream')
    await expect.poll(() => bed.seen.has('/stream'), { timeout: PATIENCE_MS }).toBe(true)

    const { bsize, bavail } = statfsSync(there)
    writeFileSync(join(there, 'ballast'), Buffer.alloc(bsize * bavail))
    await refusal(running, 'filling')
    await stream
    const before = bed.seen.size
    const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => running.ask(`/full/${at}`)))
    expect([new Set(answers), bed.seen.size]).toEqual([new Set([503]), before])
    expect((await running.admin('/health')).status).toBe(200)
    expect((await running.admin('/ready')).status).toBe(503)

    rmSync(join(there, 'ballast'))
    expect(await running.served(BACK_WITHIN_MS)).toBeLessThan(BACK_WITHIN_MS)
    expect((await running.admin('/ready')).status).toBe(200)
    const copies = await keep(there, bed)
    expect(await running.proxy.stop()).toBe(0)
    const { records, paths } = recordedPaths(join(copies, 'audit.jsonl'))
    expect(without([...bed.seen], paths)).toEqual([])
    expect(unevenRequests(records)).toEqual([])
    expect(records.filter(({ event }) => event === 'audit.restored')).toMatchObject([
      { cause: expect.stringContaining('ENOSPC') as unknown },
    ])
    const [restored] = records.filter(({ event }) => event === 'audit.restored')
    expect(restored?.['refused']).toBeGreaterThanOrEqual(21)
    const [cut] = records.filter(({ path }) => path === '/stream')
    expect(records.filter((record) => record['request_id'] === cut?.['request_id'])).toMatchObject([
      { event: 'request.decided' },
      {
        event: 'request.completed',
        outcome: 'interrupted',
        reason: 'audit_unavailable',
        status: 200,
        bytes_received: 5,
      },
    ])
  })
})

/** Copies of the files of a disk that goes with its process, once every request has its end in them. */
async function keep(there: string, bed: AuditBed): Promise<string> {
  await vi.waitFor(() => expect(unevenRequests(recordedPaths(join(there, 'audit.jsonl')).records)).toEqual([]), {
    timeout: PATIENCE_MS,
  })
  const copies = join(bed.folder, 'copies')
  mkdirSync(copies)
  // What is being put in place of another file goes away under the copying, and is no part of the trail.
  const names = readdirSync(there).filter((name) => !name.endsWith('.new'))
  for (const name of names) copyFileSync(join(there, name), join(copies, name))
  return copies
}

describe.skipIf(!hasLoop)('a disk of its own', () => {
  const onDisk = async (): Promise<{ bed: AuditBed; running: RunningBed; disk: string; there: string }> => {
    const bed = await bedWith({ path: 'disk/logs/audit.jsonl' })
    const disk = join(bed.folder, 'disk')
    const image = join(bed.folder, 'image')
    writeFileSync(image, Buffer.alloc(16 * 1_048_576))
    execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', image])
    const running = await bed.start(mounting(`mount -o loop,errors=remount-ro ${image} ${disk}`, disk))
    return { bed, running, disk, there: join(rootOf(running), disk) }
  }

  it('that hangs: 503 after two seconds, /health at once, and service when it is back', {
    timeout: TEST_MS,
  }, async () => {
    const { bed, running, there } = await onDisk()
    await running.served(PATIENCE_MS)
    execFileSync('fsfreeze', ['-f', there])
    undo.push(() => spawnSync('fsfreeze', ['-u', there]))
    const before = bed.seen.size
    const asked = Array.from({ length: 20 }, (_, at) => running.ask(`/frozen/${at}`))
    const health: number[] = []
    const frozen = { over: false }
    const watch = (async () => {
      while (!frozen.over) {
        const { status, ms } = await running.admin('/health')
        expect(status).toBe(200)
        health.push(ms)
      }
    })()
    expect(new Set(await Promise.all(asked))).toEqual(new Set([503]))
    expect(await running.ask('/frozen/later')).toBe(503)
    expect((await running.admin('/ready')).status).toBe(503)
    frozen.over = true
    await watch
    expect(bed.seen.size).toBe(before)
    // Every answer came while the disk hung; a blocked process would have given none.
    expect(Math.max(...health)).toBeLessThan(1_500)

    execFileSync('fsfreeze', ['-u', there])
    expect(await running.served(BACK_WITHIN_MS)).toBeLessThan(BACK_WITHIN_MS)
    const copies = await keep(join(there, 'logs'), bed)
    expect(await running.proxy.stop()).toBe(0)
    const { records, paths } = recordedPaths(join(copies, 'audit.jsonl'))
    expect(without([...bed.seen], paths)).toEqual([])
    expect(unevenRequests(records)).toEqual([])
    expect(records.find(({ event }) => event === 'audit.restored')).toMatchObject({
      cause: 'no answer from the disk in 2000 ms',
    })
  })

  it('that turns read-only, and another one is mounted in its place', { timeout: TEST_MS }, async () => {
    const { bed, running, disk, there } = await onDisk()
    await running.served(PATIENCE_MS)
    inside(running, 'sh', '-c', `echo 1 > /sys/fs/ext4/$(basename $(findmnt -no SOURCE ${disk}))/trigger_fs_error`)
    await refusal(running, 'read-only')
    const before = bed.seen.size
    expect([await running.ask('/read-only'), bed.seen.size]).toEqual([503, before])
    const first = pathsIn([join(there, 'logs/audit.jsonl')])
    inside(running, 'mount', '-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', disk)
    expect(await running.served(BACK_WITHIN_MS)).toBeLessThan(BACK_WITHIN_MS)
    const second = pathsIn([join(there, 'logs/audit.jsonl')])
    expect(without(bed.seen, new Set([...first, ...second]))).toEqual([])
    expect(await running.proxy.stop()).toBe(0)
  })
})

describe('SIGUSR2', () => {
  it('behind logrotate: the renamed file is left, and the chain goes on in a new one', {
    timeout: TEST_MS,
  }, async () => {
    const bed = await bedWith({ audit: 'compress: false' })
    const running = await bed.start()
    const trail = running.proxy.trailFile
    await running.served(PATIENCE_MS)
    renameSync(trail, `${trail}.1`)
    await running.ask('/between')
    process.kill(running.proxy.pid, 'SIGUSR2')
    await running.proxy.waitFor('a new file', (records) => records[0]?.event === 'segment.opened')
    await running.ask('/after')
    process.kill(running.proxy.pid, 'SIGUSR2')
    await running.proxy.waitFor('another file', (records) => records.length > 0 && records[0]?.['previous'] !== null)
    expect(await running.proxy.stop()).toBe(0)
    // Where the trail itself would have put what logrotate took.
    renameSync(`${trail}.1`, join(dirname(trail), 'audit.000000000000.jsonl'))
    const { records, paths } = recordedPaths(trail)
    expect(without(bed.seen, paths)).toEqual([])
    expect(records.filter(({ event }) => event === 'segment.opened').map(({ cause }) => cause)).toEqual([
      'start',
      'signal',
      'signal',
    ])
  })
})
