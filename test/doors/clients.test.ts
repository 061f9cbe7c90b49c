// Real clients through HTTPS_PROXY: what an application sees of streams, broken answers, ranges, 100-continue and 407.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NEUTRAL, thisMachine } from '../e2e/support/spawner.ts'
import { clientMissing, type WebClient } from '../e2e/support/web-clients.ts'
import { assertAccounted } from '../support/accounting.ts'
import { ok } from '../support/scripted-origin.ts'
import { type Bed, DENIED, HOST, startBed, TOKEN, TOKENED } from './support/bed.ts'
import { gate } from './support/gate.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const SUPPORT = fileURLToPath(new URL('./support/', import.meta.url))
const STARTED_MS = 15_000

const chunk = (data: string): string => `${data.length.toString(16)}\r\n${data}\r\n`

/** A client that runs, and what it has printed so far. */
class Running {
  readonly child: ChildProcess
  /** Null: a signal ended it. */
  readonly exit: Promise<number | null>
  text = ''
  #heard: (() => void) | null = null

  constructor(child: ChildProcess) {
    this.child = child
    child.stdin?.end()
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.text += text
        this.#heard?.()
      })
    }
    this.exit = once(child, 'close').then(([code]) => {
      this.#heard?.()
      return code as number | null
    })
  }

  /** Resolves when that was printed; rejects when the client ends without. */
  async until(wanted: string): Promise<void> {
    while (!this.text.includes(wanted)) {
      if (this.child.exitCode !== null) throw new Error(`the client ended: ${this.text}`)
      await new Promise<void>((resolve) => {
        this.#heard = resolve
      })
    }
  }
}

describe.each<WebClient>(['curl', 'requests', 'httpx', 'node'])('%s', (client) => {
  describe.skipIf(clientMissing(client) !== null)('through CONNECT', () => {
    let bed: Bed
    beforeAll(async () => {
      bed = await startBed({ door: 'connect', tls: true })
    })
    afterAll(async () => {
      await assertAccounted(bed.lab)
      await bed.close()
    })

    const url = (path: string, host = HOST): string => `https://${bed.authority(host)}${path}`
    const read = (target: string, credentials = '', curlArgs: readonly string[] = []): Running => {
      const ca = join(bed.lab.folder, 'certs/ca.pem')
      const proxy = `http://${credentials}127.0.0.1:${bed.lab.proxyPort}`
      const env = {
        ...NEUTRAL,
        HTTPS_PROXY: proxy,
        https_proxy: proxy,
        SSL_CERT_FILE: ca,
        REQUESTS_CA_BUNDLE: ca,
        NODE_EXTRA_CA_CERTS: ca,
      }
      const curl = ['-sS', '-N', '-i', '--http1.1', '--cacert', ca, '--max-time', '15', ...curlArgs, target]
      if (client === 'curl') return new Running(thisMachine.spawn('curl', curl, { env }))
      if (client === 'node')
        return new Running(thisMachine.spawn(process.execPath, [`${SUPPORT}stream.mjs`, target], { env }))
      return new Running(thisMachine.spawn('/usr/bin/python3', [`${SUPPORT}stream.py`, client, target], { env }))
    }
    const finished = async (running: Running): Promise<'whole' | 'broken'> => {
      const code = await running.exit
      if (client === 'curl') return code === 0 ? 'whole' : 'broken'
      if (running.text.includes('\nEND')) return 'whole'
      expect(running.text).toContain('ERROR')
      return 'broken'
    }

    it('[P1] hears of a stream before its first event, and of each event before the next', {
      timeout: STARTED_MS,
    }, async () => {
      const gates = Array.from({ length: 4 }, () => gate())
      bed.origin.on('/events', async (wire) => {
        wire.write(CHUNKED)
        for (const [index, { opened }] of gates.entries()) {
          await opened
          wire.write(index < 3 ? chunk(`data: ${index}\n\n`) : '0\r\n\r\n')
        }
      })
      // curl keeps what -i prints until the first byte of the body; what -v prints it does not.
      const running = read(url('/events'), '', ['-v'])
      await running.until(client === 'curl' ? 'text/event-stream' : 'HEAD 200')
      for (const index of [0, 1, 2]) {
        expect(running.text).not.toContain(`data: ${index}`)
        gates[index]?.open()
        await running.until(`data: ${index}`)
      }
      gates[3]?.open()
      expect(await finished(running)).toBe('whole')
    })

    it.each<[string, string, string]>([
      ['[P6] chunked', '/broken/chunked', CHUNKED + chunk('part')],
      ['[P7] of known length', '/broken/length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart'],
    ])('an answer that the origin breaks off is an error, %s', { timeout: STARTED_MS }, async (_name, path, bytes) => {
      bed.origin.on(path, async (wire) => {
        wire.write(bytes)
        await bed.decided(path)
        wire.socket.destroySoon()
      })
      expect(await finished(read(url(path)))).toBe('broken')
      expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'upstream_aborted' })
    })

    it('[P8] that is killed in the middle of a stream ends the upstream request', { timeout: STARTED_MS }, async () => {
      const gone = gate()
      bed.origin.on('/killed', async (wire) => {
        wire.write(CHUNKED + chunk('event'))
        await wire.closed()
        gone.open()
      })
      const running = read(url('/killed'))
      await running.until('event')
      running.child.kill('SIGKILL')
      await gone.opened
      await running.exit
      expect((await bed.attempt('/killed')).completed).toMatchObject({ outcome: 'client_aborted' })
    })

    it('[P42] gives its credentials from the URL of the proxy, and the origin does not get them', {
      timeout: STARTED_MS,
    }, async () => {
      const running = read(url('/token', TOKENED), `robot:${TOKEN}@`)
      expect(await finished(running)).toBe('whole')
      expect(bed.origin.askedFor('/token')[0]?.fields.map(([name]) => name.toLowerCase())).not.toContain(
        'proxy-authorization',
      )
      expect((await bed.attempt('/token')).decided).toMatchObject({ client: { name: 'robot' } })
    })

    it('[P42] says 407 to its user when it has none', { timeout: STARTED_MS }, async () => {
      const running = read(url('/no-token', TOKENED))
      expect(await finished(running)).toBe('broken')
      // undici hides the status of a refused CONNECT from its user.
      expect(running.text).toMatch(client === 'node' ? /cancelled/ : /407/)
      expect(bed.lab.recordsOf('request.decided').at(-1)).toMatchObject({ method: 'CONNECT', reason: 'proxy_auth' })
    })

    describe.runIf(client === 'curl')('with options of curl', () => {
      it('[P44] asks for a range', async () => {
        bed.origin.on('/range', (wire) =>
          wire.write('HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\ncde'),
        )
        const running = read(url('/range'), '', ['-r', '2-4'])
        expect(await finished(running)).toBe('whole')
        expect(running.text).toMatch(/206 Partial Content[^]*cde$/)
        expect(bed.origin.askedFor('/range')[0]?.fields).toContainEqual(['Range', 'bytes=2-4'])
      })

      it('[P9] waits for 100 before it uploads', async () => {
        bed.origin.on('/upload', async (wire, asked) => {
          await asked.body()
          wire.write(ok('stored'))
        })
        const upload = ['-H', 'Expect: 100-continue', '--expect100-timeout', '10', '-d', 'x'.repeat(1_000)]
        const running = read(url('/upload'), '', upload)
        expect(await finished(running)).toBe('whole')
        expect(running.text).toMatch(/HTTP\/1\.1 100 Continue[^]*stored$/)
        expect(bed.origin.askedFor('/upload')[0]?.fields.map(([name]) => name)).not.toContain('Expect')
      })

      it('[P9] does not upload when it is denied', async () => {
        const upload = ['-H', 'Expect: 100-continue', '--expect100-timeout', '10', '-d', 'x'.repeat(1_000)]
        const running = read(url('/upload', DENIED), '', [...upload, '-w', 'uploaded %{size_upload}'])
        expect(await finished(running)).toBe('whole')
        expect(running.text).not.toContain('100 Continue')
        expect(running.text).toMatch(/HTTP\/1\.1 403 [^]*uploaded 0$/)
      })

      it('[P10] hears early hints', async () => {
        bed.origin.on('/hints', (wire) =>
          wire.write(`HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n${ok('final')}`),
        )
        const running = read(url('/hints'))
        expect(await finished(running)).toBe('whole')
        expect(running.text).toMatch(/103 Early Hints\s+Link: <\/a.css>[^]*final$/)
      })
    })
  })
})
