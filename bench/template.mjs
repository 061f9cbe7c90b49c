// Configuration files with @NAME@ in them, filled in; and the versions that programs say they have.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Throws on a name without a value.
 * @param {URL} template
 * @param {string} path Where the filled file goes.
 * @param {Record<string, string | number>} values
 */
export function fill(template, path, values) {
  const text = readFileSync(template, 'utf8').replace(/@([A-Z_]+)@/g, (_whole, name) => {
    if (!Object.hasOwn(values, name)) throw new Error(`${template.pathname}: no value for @${name}@`)
    return String(values[name])
  })
  writeFileSync(path, text)
}

/** The first version number that the command prints, on whichever stream. */
export function versionOf(command, ...args) {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  return /\d+\.\d+(?:\.\d+)?/.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown'
}

export function packageVersion(folder) {
  return JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).version
}
