// What is wrong with a line that is no YAML, in our words, and the line as it was meant.

export interface SyntaxWords {
  readonly message: string
  readonly fix: string
}

const CHECK_HERE = 'check the indentation, the quotes and the brackets around here'

/** Longer lines hold more than a slip. */
const MAX_LINE = 1_024
/** `mode enforce`, `mode:enforce`, `allow{ hosts: ... }`. */
const WITHOUT_COLON = /^\s*(?:- )?([a-z_]+)(?:\s+|:|(?=[{[]))([^\s:].*)$/

/** `said`: the first line of what the yaml package says. `line`: the one it says it of. */
export function syntaxWords(said: string, line: string): SyntaxWords {
  const [, bracket] = /end with a ([}\]])/.exec(said) ?? []
  if (bracket !== undefined) {
    const opening = bracket === '}' ? '{' : '['
    return {
      message: `not valid YAML: a ${opening} is not closed`,
      fix: `write ${bracket} where it ends, and check the indentation`,
    }
  }
  const [, key, value] = WITHOUT_COLON.exec(line.slice(0, MAX_LINE)) ?? []
  if (key !== undefined && value !== undefined) {
    return {
      message: 'not valid YAML: a key without a colon and a blank',
      fix: `write ${key}: ${value.split(/[\s#]/)[0]}`,
    }
  }
  return { message: `not valid YAML: ${said}`, fix: CHECK_HERE }
}

/** A host with a star, without quotes, is an alias to YAML. */
export function aliasFix(text: string): SyntaxWords {
  const [host] = /^\*[^\s,\]}#]*/.exec(text) ?? ['']
  if (/^\*{1,2}(?:\.|$)/.test(host)) {
    return { message: `${host} without quotes is an alias, which YAML has for other things`, fix: `write "${host}"` }
  }
  const fix = 'write the value out, so that each rule can be read by itself'
  return { message: 'aliases are not supported', fix }
}
