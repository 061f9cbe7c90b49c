// What issued secrets look like wherever they stand: known forms of tokens, private keys, JSON Web Tokens, userinfo.

import type { Add } from './redact-range.ts'

// Linear by construction: each form starts with a literal, quantifiers in its middle are bounded and disjoint from what
// follows, and the unbounded class stands last, so a match is consumed whole and a failure costs a constant.
const TOKEN_FORMS: readonly string[] = [
  'gh[opsur]_[\\w-]{16,}',
  'github_pat_\\w{16,}',
  'xox[a-z](?:\\.xox[a-z])?-[\\w-]{8,}',
  'xapp-[\\w-]{8,}',
  '[prs]k_(?:live|test)_\\w{8,}',
  'whsec_[\\w+/=-]{8,}',
  'A(?:KIA|SIA)[A-Z0-9]{16,}',
  'sk-(?:proj|ant|svcacct|admin)-[\\w-]{8,}',
  // `task-force-…` is no key: after a letter or digit only the older form counts, which has no hyphen inside.
  'sk-[A-Za-z0-9]{32,}',
  '(?<![A-Za-z0-9])sk-[\\w-]{20,}',
  'AIza[\\w-]{30,}',
  'ya29\\.[\\w.-]{8,}',
  'GOCSPX-[\\w-]{16,}',
  'SG\\.[\\w.-]{32,}',
  'npm_[A-Za-z0-9]{16,}',
  'pypi-[\\w-]{16,}',
  'hf_[A-Za-z0-9]{16,}',
  'gl(?:pat|ptt|dt|rt|soat|cbt|oas|ft|imt|agent)-[\\w.-]{16,}',
  '(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![0-9A-Za-z])',
  '(?<![A-Za-z0-9])BSA[\\w-]{24,}',
  '(?<![A-Za-z0-9])(?:gsk_|ntn_|r8_|xai-|pplx-|tvly-)[\\w-]{24,}',
  '(?:figd|lin_api|dop_v1|shpat|shpss)_[\\w-]{24,}',
  // The first group stays: the bot's number, the workspace, the scheme.
  '(bot\\d{5,20}:|services/T[A-Za-z0-9]{1,20}/B[A-Za-z0-9]{1,20}/)[\\w-]{8,}',
  '(?<=\\d{6}:)AA[\\w-]{30,}',
  '([Bb][Ee][Aa][Rr][Ee][Rr][ \\t+]{1,4}|[Bb][Aa][Ss][Ii][Cc][ \\t+]{1,4})[\\w.~+/=-]{8,}',
  // How a browser gives credentials to a WebSocket of Kubernetes.
  '(base64url\\.bearer\\.authorization\\.k8s\\.io\\.)[\\w-]{8,}',
]
const TOKEN = new RegExp(TOKEN_FORMS.join('|'), 'g')

/** Forms as they are left in names that have lost their case. Narrower: `asiapacificsoutheast` and `pypi-mirror` are hosts. */
const FOLDED_FORMS: readonly string[] = [
  'gh[opsur]_[\\w-]{16,}',
  'github_pat_\\w{16,}',
  'xox[a-z]-[\\w-]{8,}',
  'xapp-\\d-[\\w-]{8,}',
  '[prs]k_(?:live|test)_\\w{8,}',
  '(?<![a-z0-9])a(?:kia|sia)(?=[a-z]{0,15}[2-7])[a-z2-7]{16}(?![a-z0-9])',
  'sk-(?:proj|ant|svcacct|admin)-[\\w-]{8,}',
  '(?<![a-z0-9])sk-(?=[a-z_-]{0,60}\\d)[\\w-]{20,}',
  'aiza(?=[a-z_-]{0,60}\\d)[\\w-]{30,}',
  'ya29\\.(?=[a-z_-]{0,60}\\d)[\\w-]{16,}',
  'gocspx-[\\w-]{16,}',
  'sg\\.[\\w-]{22}\\.[\\w-]{43}',
  'npm_[a-z0-9]{16,}',
  'pypi-ag[\\w-]{16,}',
  'hf_[a-z0-9]{16,}',
  'gl(?:pat|ptt|dt|rt|soat)-[\\w-]{16,}',
  '(?<![a-z0-9])sk[0-9a-f]{32}(?![a-z0-9])',
  '(?<![a-z0-9])bsa(?=[a-z_-]{0,60}\\d)[\\w-]{24,}',
  // {"alg": {"typ": {"kid": and the labels behind it that are too long for a host's.
  'eyj(?:hbgcioi|0exaioi|rawqioi)[\\w-]{8,}(?:\\.[\\w-]{24,}){0,2}',
]
const FOLDED_TOKEN = new RegExp(FOLDED_FORMS.join('|'), 'gi')

const ACCESS_KEY_ID = /^A[KS]IA/
/** The secret of an AWS access key stands near its id, and has no form of its own but its length. */
const NEIGHBOURHOOD = 160
const SECRET_ACCESS_KEY = /(?<![A-Za-z0-9+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9+])/g

const PRIVATE_KEY = /-----BEGIN [A-Z0-9 +]{0,40}PRIVATE[ +]KEY/g

/** `cut`: the text was broken off at its end, so what is begun there may be a token that no longer shows it. */
export function findTokens(text: string, cut: boolean, add: Add): void {
  // exec with lastIndex: matchAll costs ten times the search itself when there is nothing to find, which is the common case.
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const end = TOKEN.lastIndex
    const kept = match[1] ?? match[2] ?? match[3] ?? ''
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
  PRIVATE_KEY.lastIndex = 0
  for (let match = PRIVATE_KEY.exec(text); match !== null; match = PRIVATE_KEY.exec(text)) {
    const footer = text.indexOf('-----END', PRIVATE_KEY.lastIndex)
    const close = footer < 0 ? -1 : text.indexOf('-----', footer + 8)
    PRIVATE_KEY.lastIndex = close < 0 ? text.length : close + 5
    add(match.index, PRIVATE_KEY.lastIndex)
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
