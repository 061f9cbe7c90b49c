// Trails made by the real writer, for the verbs that read them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { newId } from '../../src/audit/id.ts'
import { type FileTrail, openTrail } from '../../src/audit/trail.ts'
import { auditCommand } from '../../src/cli/audit.ts'
import type { Output } from '../../src/cli/output.ts'
import type { AuditEvent, RequestCompleted, RequestDecided } from '../../src/core/record.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

/** Everything that could drive a terminal, turn a line or end one. */
export const HOSTILE = '/\u0000\u001b[2J\u009b31m\u202e\u2066\r\n\u0007\u007f\u2028\ud800é\\u001b"'

/** What no output may hold: anything but printable ASCII and newlines. */
export const UNSAFE: RegExp = /[^\x20-\x7e\n]/

/** The whole command; what commander refuses is thrown. */
export function audit(output: Output): Command {
  const command = auditCommand(output)
  for (const verb of command.commands) verb.exitOverride().configureOutput({ writeErr: () => undefined })
  return command
}

export interface Asked {
  readonly decided?: Partial<RequestDecided>
  /** Null: it stays open. */
  readonly completed?: Partial<RequestCompleted> | null
}

export class Fixture {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'mcp-egress-audit-'))
  readonly path: string = join(this.folder, 'audit.jsonl')
  trail!: FileTrail
  /** Of the next record. */
  clock: number = Date.UTC(2026, 10, 20, 8)

  async open(): Promise<void> {
    this.trail = await openTrail({ path: this.path, durability: 'os', now: () => new Date((this.clock += 1_000)) })
  }

  async write(...events: readonly AuditEvent[]): Promise<void> {
    for (const event of events) await this.trail.append(event)
  }

  /** Writes the decision and the end; gives the id. */
  async request({ decided, completed }: Asked = {}): Promise<string> {
    const request_id = newId(this.clock)
    await this.write({ ...DECIDED, request_id, ...decided })
    if (completed !== null) await this.write({ ...COMPLETED, request_id, ...completed })
    return request_id
  }

  async denied(decided: Partial<RequestDecided> = {}): Promise<string> {
    return this.request({
      decided: { decision: 'deny', reason: 'no_matching_rule', rule: null, host: 'evil.example', ...decided },
      completed: {
        outcome: 'refused',
        reason: 'no_matching_rule',
        status: 403,
        upstream_address: null,
        bytes_received: 0,
      },
    })
  }

  /** The next record begins a new file; resolves once it does. */
  async rotate(): Promise<void> {
    this.trail.rotate('signal')
    await this.write({ event: 'checkpoint', records: 0, key_id: null, signature: null })
  }

  async remove(): Promise<void> {
    await this.trail?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
