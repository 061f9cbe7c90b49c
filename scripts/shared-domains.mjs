// Writes src/config/lint-shared-domains.ts from the Public Suffix List that tldts brings: names that are no public suffix and have some below them.

import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const FILE = new URL('../src/config/lint-shared-domains.ts', import.meta.url)

/** The list is inside the package and no part of what it promises: read here, not where the proxy runs. */
const require = createRequire(import.meta.url)
const list = require('tldts/dist/cjs/src/data/trie.js')
const { parse } = require('tldts')

const OPTIONS = { allowPrivateDomains: true, extractHostname: false, validateHostname: false, detectIp: false }

function suffixes() {
  const { nodeFlags, edgeStart, edgeLength, edgeChild, labelText, rulesRoot } = list
  const offsets = [0]
  for (const length of edgeLength) offsets.push(offsets.at(-1) + length)
  const found = []
  const walk = (node, labels) => {
    if (nodeFlags[node] !== 0) found.push(labels)
    for (let edge = edgeStart[node]; edge < edgeStart[node + 1]; edge++) {
      walk(edgeChild[edge], [labelText.slice(offsets[edge], offsets[edge + 1]), ...labels])
    }
  }
  walk(rulesRoot, [])
  return found
}

/** As core/host-pattern.ts has it: what is a suffix there is refused before. */
function isSuffix(name) {
  const { publicSuffix, isIcann, isPrivate } = parse(name, OPTIONS)
  return publicSuffix === name && (isIcann || isPrivate)
}

/** Sorted; names in their ASCII form, as hosts of rules are. */
export function sharedDomains() {
  const above = suffixes().flatMap((labels) => labels.slice(1).map((_, index) => labels.slice(index + 1).join('.')))
  const names = above.filter((name) => !/[^\x21-\x7e]|\*/.test(name) && !isSuffix(name))
  return [...new Set(names)].sort((a, b) => (a < b ? -1 : 1))
}

function source(names) {
  const lines = ['']
  for (const name of names) {
    if (lines.at(-1).length + name.length > 120) lines.push('')
    lines.push(`${lines.pop()} ${name}`.trim())
  }
  return [
    '// Names that are no public suffix and have some below them. Written by scripts/shared-domains.mjs from the list that tldts brings.',
    '',
    'export const SHARED_DOMAINS: readonly string[] = `',
    ...lines,
    '`',
    '  .trim()',
    '  .split(/\\s+/)',
    '',
  ].join('\n')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeFileSync(FILE, source(sharedDomains()))
