// Real clients of the web, each as an application would use it: curl, Python requests and httpx, Node's fetch.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { ExecOptions } from '../../support/netns.ts'
import { type Spawner, SUPPORT } from './spawner.ts'

export type WebClient = 'curl' | 'requests' | 'httpx' | 'node'

export interface Asked {
  readonly method: 'GET' | 'POST'
  readonly url: string
  /** Bytes of the request body; none when omitted. */
  readonly bytes?: number
  readonly times?: number
}

export interface WebAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

/** The answer, or what the application was told instead of one. */
export type Got = WebAnswer | { readonly error: string }

const PYTHON = '/usr/bin/python3'
const RUN_TIMEOUT_MS = 60_000

/** What is missing for this client here; null: nothing. Said once on stderr, so that a skipped test is never silent. */
export function clientMissing(client: WebClient): string | null {
  const missing = client === 'curl' ? curlMissing() : client === 'node' ? null : pythonMissing(client)
  if (missing !== null) process.stderr.write(`tests with ${client} are SKIPPED: ${missing}\n`)
  return missing
}

function curlMissing(): string | null {
  return spawnSync('curl', ['--version']).status === 0 ? null : 'curl is not installed'
}

function pythonMissing(library: string): string | null {
  if (!existsSync(PYTHON)) return `${PYTHON} is not installed`
  return spawnSync(PYTHON, ['-c', `import ${library}`]).status === 0 ? null : `python3-${library} is not installed`
}

/** One answer for each time asked, in order. `options.env` says what is trusted and which proxy is used. */
export async function ask(spawner: Spawner, client: WebClient, asked: Asked, options: ExecOptions): Promise<Got[]> {
  const times = asked.times ?? 1
  if (client === 'curl') return askCurl(spawner, asked, times, options)
  const args = [asked.method, asked.url, String(asked.bytes ?? 0), String(times)]
  const [command, script] =
    client === 'node' ? [process.execPath, [`${SUPPORT}fetch.mjs`]] : [PYTHON, [`${SUPPORT}fetch.py`, client]]
  const { code, stdout, stderr } = await spawner.exec(command, [...script, ...args], {
    timeoutMs: RUN_TIMEOUT_MS,
    ...options,
  })
  if (code !== 0) throw new Error(`${client} ended with ${code}: ${stderr}`)
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => readLine(line))
}

function readLine(line: string): Got {
  const facts = JSON.parse(line) as { error: string } | { status: number; headers: [string, string][]; body: string }
  if ('error' in facts) return facts
  return { status: facts.status, headers: new Map(facts.headers), body: Buffer.from(facts.body, 'base64') }
}

/** A process each time, as in a shell script. The upload goes at once: with `Expect` curl would wait to be asked for it. */
async function askCurl(spawner: Spawner, asked: Asked, times: number, options: ExecOptions): Promise<Got[]> {
  const args = ['-sS', '-i', '--http1.1', '--suppress-connect-headers', '--max-time', '20', '-X', asked.method]
  const upload = asked.bytes === undefined ? [] : ['-H', 'Expect:', '--data-binary', '@-']
  const input = asked.bytes === undefined ? {} : { input: 'u'.repeat(asked.bytes) }
  const got: Got[] = []
  for (let index = 0; index < times; index++) {
    const { code, stdout, stderr } = await spawner.exec('curl', [...args, ...upload, asked.url], {
      ...options,
      ...input,
    })
    got.push(code === 0 ? readAnswer(stdout) : { error: `curl: (${code}) ${stderr}` })
  }
  return got
}

/** The text of `curl -i`; bodies are UTF-8 in these tests, so nothing was lost on the way here. */
function readAnswer(text: string): WebAnswer {
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...fields] = text.slice(0, end).split('\r\n')
  const status = Number(statusLine.split(' ')[1])
  if (status < 200) return readAnswer(text.slice(end + 4))
  const headers = fields.map((field): [string, string] => {
    const colon = field.indexOf(':')
    return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()]
  })
  return { status, headers: new Map(headers), body: Buffer.from(text.slice(end + 4)) }
}
