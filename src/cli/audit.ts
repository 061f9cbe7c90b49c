// `mcp-egress audit`: the verbs that read the trail.

import { Command } from 'commander'
import { exportCommand } from './audit-export.ts'
import { queryCommand } from './audit-query.ts'
import { showCommand } from './audit-show.ts'
import { statsCommand } from './audit-stats.ts'
import { tailCommand } from './audit-tail.ts'
import { type Output, processOutput } from './output.ts'

export function auditCommand(output: Output = processOutput()): Command {
  const audit = new Command('audit').description('read the audit trail')
  tailCommand(audit.command('tail'), output)
  queryCommand(audit.command('query'), output)
  statsCommand(audit.command('stats'), output)
  showCommand(audit.command('show'), output)
  exportCommand(audit.command('export'), output)
  return audit
}
