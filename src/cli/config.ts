// `mcp-egress config print`: the configuration in force, without its secrets, and where each value comes from.

import { Command } from 'commander'
import { Document, isMap, isScalar, type Node, type Pair, type YAMLMap } from 'yaml'
import { findConfig, loadConfig } from '../config/load.ts'
import { formatPlace, printable } from '../config/problem.ts'
import { type Printed, printed } from '../config/printed.ts'
import { configOf } from './loaded.ts'
import { json, type Output, processOutput } from './output.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
}

export function configCommand(output: Output = processOutput()): Command {
  const print = new Command('print')
    .description('print the configuration in force, without its secrets, and where each value comes from')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml if it is there)')
    .option('--json', 'print JSON')
    .action((flags: Flags) => {
      const file = findConfig(flags.config, process.cwd())
      const loaded = loadConfig(file, process.env)
      // Every problem printed, as for any verb.
      if (!loaded.ok) return void configOf(flags.config)
      const { value, origins } = printed(loaded.origin)
      const { hash } = loaded.config
      if (flags.json) return output.out(json({ file, hash, value, origins: Object.fromEntries(origins) }))
      output.out(`# ${printable(file ?? 'no file')}, hash ${hash}\n${annotated({ value, origins })}`)
    })
  return new Command('config').description('the configuration in force').addCommand(print)
}

function annotated({ value, origins }: Printed): string {
  const document = new Document(value)
  if (isMap(document.contents)) annotate(document.contents, [], origins)
  return document.toString({ lineWidth: 0 })
}

/** A comment behind each value; before a list, which has lines of its own. */
function annotate(section: YAMLMap, place: readonly string[], origins: ReadonlyMap<string, string>): void {
  for (const { key, value } of section.items as Pair<Node, Node>[]) {
    const at = [...place, String(isScalar(key) ? key.value : key)]
    if (isMap(value) && !origins.has(formatPlace(at))) {
      annotate(value, at, origins)
      continue
    }
    const origin = origins.get(formatPlace(at))
    if (origin === undefined) continue
    if (isScalar(value)) value.comment = ` ${origin}`
    else key.commentBefore = ` ${origin}`
  }
}
