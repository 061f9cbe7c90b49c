// The lab most tests use: one allowed origin `api.allowed.test`, one denied name, both doors to each.

import type { Socket } from 'node:net'
import { exchangeOn, type HttpAnswer, httpsRedirected, httpsVia, type TlsOptions } from './clients.ts'
import { type Lab, type LabOptions, startLab } from './lab.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from './origins.ts'

export const ALLOWED = 'api.allowed.test'
export const DENIED = 'evil.test'

export interface Standard {
  readonly root: TestRoot
  readonly origin: Origin
  readonly lab: Lab
  /** `api.allowed.test:PORT` */
  readonly authority: string
  close(): Promise<void>
}

export interface StandardOptions extends Partial<LabOptions> {
  /** Rules after the standard one; `PORT` stands for the origin's port. */
  readonly more?: string
  readonly origin?: (root: TestRoot) => Promise<Origin>
}

export async function startStandard(options: StandardOptions = {}): Promise<Standard> {
  const root = createTestRoot()
  const origin = await (options.origin?.(root) ?? startOrigin(root, ALLOWED))
  const rules =
    options.rules ??
    `  - { id: standard, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/**"] } }\n${options.more ?? ''}`
  const lab = await startLab({
    ...options,
    root,
    rules: rules.replaceAll('PORT', String(origin.port)),
    names: { [ALLOWED]: ['127.0.0.1'], ...options.names },
    original: options.original ?? { address: '127.0.0.1', port: origin.port },
  })
  return {
    root,
    origin,
    lab,
    authority: `${ALLOWED}:${origin.port}`,
    close: async () => {
      await lab.close()
      await origin.close()
      root.close()
    },
  }
}

export type DoorName = 'connect' | 'transparent'
export const DOORS: readonly DoorName[] = ['connect', 'transparent']

/** A TLS connection for `authority` through that door; the transparent one must be redirected to its port already. */
export function openDoor(lab: Lab, door: DoorName, authority: string, options: TlsOptions = {}): Promise<Socket> {
  if (door === 'connect') return httpsVia(lab, authority, options)
  return httpsRedirected(lab, options.servername ?? authority.replace(/:\d+$/, ''), options)
}

/** One request of its own connection through that door. */
export async function ask(
  lab: Lab,
  door: DoorName,
  authority: string,
  request: { method?: string; target?: string; host?: string; headers?: string; body?: string } = {},
): Promise<HttpAnswer> {
  const socket = await openDoor(lab, door, authority)
  const { method = 'GET', target = '/', host = authority, headers = '', body = '' } = request
  const answer = await exchangeOn(socket, `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n${body}`)
  socket.destroy()
  return answer
}
