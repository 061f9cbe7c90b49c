// Builds the images of the container tests without a registry: the stage that ships is taken from docker/Dockerfile as it is.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dockerAlone } from './engine.ts'
import { ROOT } from './root.ts'

/** What docker/Dockerfile builds on by default, and what the Compose files run the example with. */
const BASE_IMAGE = 'node:24-bookworm-slim'

/** On what the classic builder leaves behind without a name. */
const LABEL = 'mcp-egress.test=image'

const BUILD_TIMEOUT_MS = 300_000

/** The product's image, with this machine's `dist` and production packages in place of those the build stage makes. */
export async function buildProduct(tag: string): Promise<void> {
  await build(tag, (context) => {
    for (const path of ['package.json', 'dist', ...productionPackages()]) copy(path, join(context, 'build', path))
    copy('docker/namespace.mjs', join(context, 'docker/namespace.mjs'))
    return [
      `FROM ${BASE_IMAGE} AS base`,
      installing('iptables'),
      'FROM scratch AS build',
      `LABEL ${LABEL}`,
      'COPY build /build',
      shippedStage(),
    ]
  })
}

/** What a workload of ours, the witness and the sniffer need besides the base. */
export async function buildTools(tag: string): Promise<void> {
  await build(tag, () => [
    `FROM ${BASE_IMAGE}`,
    installing('python3'),
    installing('iptables'),
    installing('ip', 'iproute2'),
  ])
}

export async function removeImages(tags: readonly string[]): Promise<void> {
  await dockerAlone(['image', 'rm', '--force', ...tags], { mayFail: true })
  await dockerAlone(['image', 'prune', '--force', '--filter', `label=${LABEL}`], { mayFail: true })
}

/** The last stage of docker/Dockerfile, byte for byte. */
function shippedStage(): string {
  const text = readFileSync(`${ROOT}/docker/Dockerfile`, 'utf8')
  const start = text.indexOf('\nFROM base AS runtime\n')
  if (start === -1 || /^FROM /m.test(text.slice(start + 6)))
    throw new Error('docker/Dockerfile: its last stage is another')
  return text.slice(start)
}

function installing(command: string, name = command): string {
  return `RUN command -v ${command} || (apt-get update && apt-get install -y --no-install-recommends ${name})`
}

/** The folders that the lock file wants at run time and that are here; those of other platforms are not. */
function productionPackages(): string[] {
  const lock = JSON.parse(readFileSync(`${ROOT}/package-lock.json`, 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean }>
  }
  return Object.entries(lock.packages)
    .filter(([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true)
    .map(([path]) => path)
    .filter((path) => existsSync(join(ROOT, path)))
}

function copy(path: string, target: string): void {
  mkdirSync(join(target, '..'), { recursive: true })
  cpSync(join(ROOT, path), target, { recursive: true })
}

async function build(tag: string, prepare: (context: string) => string[]): Promise<void> {
  const context = mkdtempSync(join(tmpdir(), 'mcp-egress-image-'))
  try {
    writeFileSync(join(context, 'Dockerfile'), `${prepare(context).join('\n')}\n`)
    await dockerAlone(['build', '--quiet', '--tag', tag, context], { timeoutMs: BUILD_TIMEOUT_MS })
  } finally {
    rmSync(context, { recursive: true, force: true })
  }
}
