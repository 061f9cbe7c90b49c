// Makes the trail runnable in a child process: plain JavaScript in a folder of its own, as the build makes it.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))

/** The folder, which holds `audit/trail.js`. The caller removes it. */
export function compileTrail(): string {
  const folder = mkdtempSync(join(tmpdir(), 'trail-js-'))
  const options =
    '--ignoreConfig --target es2023 --module nodenext --types node --skipLibCheck --rewriteRelativeImportExtensions'
  const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc')
  const source = join(REPOSITORY, 'src')
  const run = spawnSync(
    process.execPath,
    [tsc, ...options.split(' '), '--rootDir', source, '--outDir', folder, join(source, 'audit/trail.ts')],
    { cwd: REPOSITORY, encoding: 'utf8' },
  )
  if (run.status !== 0) throw new Error(`the trail does not compile: ${run.stdout}${run.stderr}`)
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  symlinkSync(join(REPOSITORY, 'node_modules'), join(folder, 'node_modules'))
  return folder
}
