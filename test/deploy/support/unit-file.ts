// Reads the unit files of examples/systemd, as far as they use the format of systemd.syntax(7).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const UNITS: string = join(import.meta.dirname, '../../../examples/systemd')

export interface UnitFile {
  readonly text: string
  /** Every value of a setting, in order; a setting that is not there has none. */
  all(section: string, setting: string): string[]
  /** The one value; throws when there is none or more than one. */
  one(section: string, setting: string): string
}

export function readUnit(name: string): UnitFile {
  const text = readFileSync(join(UNITS, name), 'utf8')
  const settings: { section: string; setting: string; value: string }[] = []
  let section = ''
  for (const line of text.split('\n')) {
    const header = /^\[(\w+)\]$/.exec(line)
    if (header !== null) section = header[1] ?? ''
    const setting = /^(\w+)=(.*)$/.exec(line)
    if (setting !== null) settings.push({ section, setting: setting[1] ?? '', value: setting[2] ?? '' })
  }
  const all: UnitFile['all'] = (inSection, named) =>
    settings.filter((given) => given.section === inSection && given.setting === named).map(({ value }) => value)
  return {
    text,
    all,
    one: (inSection, named) => {
      const [value, ...more] = all(inSection, named)
      if (value === undefined || more.length > 0) throw new Error(`${name}: not one ${inSection}.${named}`)
      return value
    },
  }
}
