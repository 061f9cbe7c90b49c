import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { caCommand, type DirectoryOptions } from '../../src/cli/ca.ts'
import { EXIT, ExitError } from '../../src/cli/exit.ts'
import { temporaryDirectory } from './fixture.ts'

let stdout = ''
let stderr = ''

beforeEach(() => {
  stdout = ''
  stderr = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
    stdout += String(chunk)
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
    stderr += String(chunk)
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
})

function ca(...args: string[]): string {
  stdout = ''
  caCommand().parse(args, { from: 'user' })
  return stdout
}

function failure(...args: string[]): ExitError {
  try {
    ca(...args)
  } catch (error) {
    if (error instanceof ExitError) return error
    throw error
  }
  throw new Error('it succeeded')
}

function initialised(): string {
  const directory = join(temporaryDirectory(), 'certs')
  ca('init', '--directory', directory)
  return directory
}

describe('ca init', () => {
  it('makes the CA, the bundle and the trust store, and says so on stderr', () => {
    const directory = initialised()
    expect(readdirSync(directory).sort()).toEqual(['bundle.pem', 'ca.pem', 'private', 'truststore.p12'])
    expect(stderr).toContain(`created a CA in ${directory}`)
    expect(stdout).toMatch(/^fingerprint256 {2}[0-9A-F:]{95}$/m)
  })

  it('keeps a CA that is there', () => {
    const directory = initialised()
    const before = readFileSync(join(directory, 'ca.pem'), 'utf8')
    ca('init', '--directory', directory)
    expect(readFileSync(join(directory, 'ca.pem'), 'utf8')).toBe(before)
    expect(stderr).toContain('already; kept')
  })

  it('fails with the fix on a key that others can read', () => {
    const directory = initialised()
    chmodSync(join(directory, 'private/ca.key'), 0o644)
    expect(failure('init', '--directory', directory)).toMatchObject({
      code: EXIT.failure,
      message: expect.stringContaining('Fix: chmod 600'),
    })
  })
})

describe('ca show', () => {
  it('prints JSON that says what the CA is', () => {
    const directory = initialised()
    expect(JSON.parse(ca('show', '--json', '--directory', directory))).toMatchObject({
      subject: expect.stringMatching(/^O=mcp-egress, CN=mcp-egress CA [0-9a-f]{8}$/),
      key: 'ec prime256v1',
      days_left: 824,
      certificate: join(directory, 'ca.pem'),
    })
  })

  it('needs no private key', () => {
    const directory = initialised()
    rmSync(join(directory, 'private'), { recursive: true })
    expect(ca('show', '--directory', directory)).toContain('days_left')
  })

  it('takes the folder from the callback, which is given the options', () => {
    const directory = initialised()
    const seen: DirectoryOptions[] = []
    const command = caCommand((options) => {
      seen.push(options)
      return directory
    })
    command.parse(['show', '-c', 'mcp-egress.yaml'], { from: 'user' })
    expect(seen).toEqual([{ config: 'mcp-egress.yaml' }])
    expect(stdout).toContain(join(directory, 'ca.pem'))
  })
})

describe('ca env', () => {
  it('prints lines that a shell evaluates to the same values', () => {
    const directory = join(temporaryDirectory(), `it's a "folder" $HOME`)
    ca('init', '--directory', directory)
    const lines = ca('env', '--directory', directory, '--proxy', 'http://127.0.0.1:3128')
    const values = JSON.parse(
      ca('env', '--json', '--directory', directory, '--proxy', 'http://127.0.0.1:3128'),
    ) as object
    const script = `${lines}exec node -p 'JSON.stringify(process.env)'`
    const environment = { PATH: process.env['PATH'] }
    const evaluated = execFileSync('sh', ['-c', script], {
      env: environment,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(JSON.parse(evaluated)).toMatchObject(values)
    expect(lines.split('\n').every((line) => line === '' || line.startsWith('export '))).toBe(true)
  })

  it.each(['127.0.0.1:3128', 'socks5://127.0.0.1:1080', 'nonsense', ''])(
    'refuses the proxy %j as a usage error',
    (proxy) => {
      const refused = failure('env', '--directory', initialised(), '--proxy', proxy)
      expect(refused.code).toBe(EXIT.usage)
      expect(refused.message).toContain('Fix: write it as http://127.0.0.1:3128')
    },
  )

  it.each(['bundle.pem', 'truststore.p12'])(
    'makes %s where it is not there yet, rather than name a file that is not',
    (name) => {
      const directory = initialised()
      rmSync(join(directory, name))
      expect(ca('env', '--directory', directory)).toContain(join(directory, name))
      expect(statSync(join(directory, name)).size).toBeGreaterThan(0)
    },
  )
})

describe('ca bundle', () => {
  it('prints what bundle.pem holds', () => {
    const directory = initialised()
    expect(ca('bundle', '--directory', directory)).toBe(readFileSync(join(directory, 'bundle.pem'), 'utf8'))
  })
})

describe('ca export', () => {
  it('[H01] copies the public files, readable by all, and never the key', () => {
    const directory = initialised()
    const target = join(temporaryDirectory(), 'shared', 'ca')
    const before = process.umask(0o077)
    const printed = ca('export', target, '--directory', directory)
    process.umask(before)
    expect(readdirSync(target).sort()).toEqual(['bundle.pem', 'ca.pem', 'truststore.p12'])
    expect(printed).toBe(['ca.pem', 'bundle.pem', 'truststore.p12'].map((name) => `${join(target, name)}\n`).join(''))
    for (const name of readdirSync(target)) {
      expect(statSync(join(target, name)).mode & 0o777).toBe(0o644)
      expect(readFileSync(join(target, name))).toEqual(readFileSync(join(directory, name)))
    }
    expect(statSync(target).mode & 0o755).toBe(0o755)
  })

  it('makes a folder that `ca env` takes, without the key', () => {
    const target = temporaryDirectory()
    ca('export', target, '--directory', initialised())
    expect(ca('env', '--directory', target)).toContain(`export SSL_CERT_FILE='${join(target, 'bundle.pem')}'\n`)
  })

  it('prints the files as JSON', () => {
    const target = temporaryDirectory()
    const { files } = JSON.parse(ca('export', target, '--json', '--directory', initialised())) as { files: string[] }
    expect(files.every((path) => existsSync(path))).toBe(true)
    expect(files).toHaveLength(3)
  })

  it('fails with the path where the target is a file', () => {
    const target = join(temporaryDirectory(), 'target')
    writeFileSync(target, '')
    expect(failure('export', target, '--directory', initialised())).toMatchObject({
      code: EXIT.failure,
      message: expect.stringContaining(target),
    })
  })
})

describe('without a CA', () => {
  it.each([['show'], ['env'], ['bundle'], ['export', 'target']])(
    'ca %s fails, says how to make one, and makes none',
    (...args) => {
      const directory = temporaryDirectory()
      const failed = failure(...args, '--directory', directory)
      expect(failed.code).toBe(EXIT.failure)
      expect(failed.message).toBe(
        `${join(directory, 'ca.pem')}: there is no CA. Fix: mcp-egress ca init --directory ${directory}`,
      )
      expect(readdirSync(directory)).toEqual([])
    },
  )
})
