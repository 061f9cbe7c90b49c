// What issued secrets look like wherever they stand: known forms of tokens, private keys, JSON Web Tokens, userinfo.

import type { Add } from './redact-range.ts'
import { JSON_WEB_TOKEN, PRIVATE_KEY, TOKEN_FORMATS } from './token-formats.ts'

const TOKEN = new RegExp(TOKEN_FORMATS.map(({ source }) => source).join('|'), 'g')
const FOLDED_TOKEN = new RegExp(
  [...TOKEN_FORMATS, JSON_WEB_TOKEN].flatMap(({ folded }) => folded ?? []).join('|'),
  'gi',
)

const ACCESS_KEY_ID = /^A[KS]IA/
/** The secret of an AWS access key stands near its id, and has no form of its own but its length. */
const NEIGHBOURHOOD = 160
const SECRET_ACCESS_KEY = /(?<![A-Za-z0-9+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9+])/g

const PRIVATE_KEY_HEAD = new RegExp(PRIVATE_KEY.source, 'g')

/** `cut`: the text was broken off at its end, so what is begun there may be a token that no longer shows it. */
export function findTokens(text: string, cut: boolean, add: Add): void {
  // exec with lastIndex: matchAll costs ten times the search itself when there is nothing to find, which is the common case.
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const end = TOKEN.lastIndex
    const kept = match[1] ?? match[2] ?? match[3] ?? match[4] ?? ''
    add(match.index + kept.length, end)
    if (ACCESS_KEY_ID.test(match[0])) {
      findSecretAccessKeys(text, Math.max(0, match.index - NEIGHBOURHOOD), match.index, add)
      findSecretAccessKeys(text, end, Math.min(text.length, end + NEIGHBOURHOOD), add)
    }
  }
  findPrivateKeys(text, add)
  findJsonWebTokens(text, cut, add)
}

/** In a name that may have been folded to one case on its way: a host, a field name. */
export function findFoldedTokens(text: string, add: Add): void {
  FOLDED_TOKEN.lastIndex = 0
  for (let match = FOLDED_TOKEN.exec(text); match !== null; match = FOLDED_TOKEN.exec(text)) {
    add(match.index, FOLDED_TOKEN.lastIndex)
  }
}

function findSecretAccessKeys(text: string, from: number, to: number, add: Add): void {
  for (const match of text.slice(from, to).matchAll(SECRET_ACCESS_KEY)) {
    add(from + match.index, from + match.index + match[0].length)
  }
}

function findPrivateKeys(text: string, add: Add): void {
  PRIVATE_KEY_HEAD.lastIndex = 0
  for (let match = PRIVATE_KEY_HEAD.exec(text); match !== null; match = PRIVATE_KEY_HEAD.exec(text)) {
    const footer = text.indexOf('-----END', PRIVATE_KEY_HEAD.lastIndex)
    const close = footer < 0 ? -1 : text.indexOf('-----', footer + 8)
    PRIVATE_KEY_HEAD.lastIndex = close < 0 ? text.length : close + 5
    add(match.index, PRIVATE_KEY_HEAD.lastIndex)
  }
}

/** RFC 7519 §3: a dotted run that holds `eyJ` (base64url of `{"`) and two more dots. Each run is looked at once. */
function findJsonWebTokens(text: string, cut: boolean, add: Add): void {
  for (let start = text.indexOf('eyJ'); start >= 0; ) {
    let end = start
    let dots = 0
    for (; end < text.length && isTokenUnit(text.charCodeAt(end)); end++) if (text[end] === '.') dots++
    if (dots >= 2 || (cut && end === text.length)) add(start, end)
    start = text.indexOf('eyJ', end)
  }
}

/** RFC 3986 §3.2.1. */
export function findUserinfo(text: string, add: Add): void {
  for (let slashes = text.indexOf('//'); slashes >= 0; ) {
    const start = slashes + 2
    let end = start
    let at = start
    for (; end < text.length && !isAuthorityEnd(text.charCodeAt(end)); end++) if (text[end] === '@') at = end
    add(start, at)
    slashes = text.indexOf('//', end === start ? slashes + 1 : end)
  }
}

const isAlphanumeric = (unit: number): boolean =>
  (unit >= 0x30 && unit <= 0x39) || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a)

/** ALPHA DIGIT - . _ */
export const isTokenUnit = (unit: number): boolean =>
  isAlphanumeric(unit) || unit === 0x2d || unit === 0x2e || unit === 0x5f

/** / ? # and everything up to and with the space. */
export const isAuthorityEnd = (unit: number): boolean => unit <= 0x20 || unit === 0x2f || unit === 0x3f || unit === 0x23
