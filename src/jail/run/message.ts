// What `mcp-egress run` and the first process of its jail say to each other over their IPC channel.

import type { MountStep } from './mounts.ts'

/** A listening socket made inside the jail: `transparent` is where REDIRECT leads, `dns-*` answer on port 53. */
export interface JailSocket {
  readonly kind: 'socket'
  readonly use: 'transparent' | 'dns-tcp' | 'dns-udp'
  readonly family: 'v4' | 'v6'
}

export interface JailedCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Null: the user of the jail's first process. */
  readonly user: { readonly uid: number; readonly gid: number; readonly name: string | null } | null
}

export type ToJail =
  | { readonly kind: 'build'; readonly mounts: readonly MountStep[] }
  /** All sockets have arrived: the jail lets go of its own handles, two processes must not accept from one queue. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'start'; readonly command: JailedCommand }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }

export type FromJail =
  | JailSocket
  /** Network, rules and mounts are in force, and every socket was sent. */
  | { readonly kind: 'built' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'exited'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
