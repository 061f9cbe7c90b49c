// Takes a GraphQL document apart into tokens (GraphQL September 2025, §2.1), refusing what two lexers could take apart differently.

/** `number`: an Int or a Float; `string`: a block string too. Punctuators are called as they are written. */
export type TokenKind =
  | ('name' | 'number' | 'string' | 'end' | 'bad')
  | ('{' | '}' | '(' | ')' | '[' | ']' | ':' | '=' | '!' | '$' | '@' | '...')

/** At one token of `document`. Once it is bad it stays so, and `why` says what for. */
export interface Lexer {
  readonly document: string
  kind: TokenKind
  /** Of a name. */
  name: string
  /** Where the token ends, in UTF-16 code units. */
  at: number
  tokens: number
  why: string
}

/** More than any query has that people write or tools make. */
export const MAX_TOKENS = 50_000
export const MAX_NAME_LENGTH = 256

const IGNORED = /[\ufeff\t\n\r ,]*/y
/**
 * SECURITY: to a lexer that takes `.*` for the rest of the line, a comment goes on behind a CR, or ends at U+2028: at anything but LF and
 * CR LF it is refused.
 */
const COMMENT = /#[^\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]*/y
const NAME = /[A-Za-z_][0-9A-Za-z_]*/y
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
/** §2.9.1: neither a digit, nor a dot, nor the start of a name may follow. */
const GOES_ON = /[.0-9A-Za-z_]/
const PLAIN = /[^"\\\0-\x08\n-\x1f]*/y
const ESCAPE = /\\(?:["\\/bfnrt]|u(?:([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,8})\}))/y
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f]/
const PUNCTUATORS: ReadonlySet<string> = new Set('{}()[]:=!$@')
const BLOCK_QUOTE = '"""'

/** At the first token. */
export function startLexer(document: string): Lexer {
  const lexer: Lexer = { document, kind: 'end', name: '', at: 0, tokens: 0, why: '' }
  advance(lexer)
  return lexer
}

/** To the next token. */
export function advance(lexer: Lexer): void {
  if (lexer.kind === 'bad') return
  lexer.tokens += 1
  lexer.kind = lexer.tokens > MAX_TOKENS ? fail(lexer, `more than ${MAX_TOKENS} tokens`) : nextKind(lexer)
}

/** Makes it bad for `why`, unless it is already. */
export function fail(lexer: Lexer, why: string): 'bad' {
  if (lexer.kind !== 'bad') lexer.why = why
  lexer.kind = 'bad'
  return 'bad'
}

function nextKind(lexer: Lexer): TokenKind {
  if (!skipIgnored(lexer)) return fail(lexer, 'a comment that not all readers end at the same place')
  const { document, at } = lexer
  const first = document.charAt(at)
  if (first === '') return 'end'
  if (PUNCTUATORS.has(first)) return step(lexer, 1, first as TokenKind)
  if (first === '"') return document.startsWith(BLOCK_QUOTE, at) ? readBlock(lexer) : readString(lexer)
  if (document.startsWith('...', at)) return step(lexer, 3, '...')
  lexer.name = skip(lexer, NAME)
  if (lexer.name !== '') return lexer.name.length > MAX_NAME_LENGTH ? fail(lexer, 'a name that is too long') : 'name'
  if (skip(lexer, NUMBER) === '') return fail(lexer, 'a character that begins no token')
  return GOES_ON.test(document.charAt(lexer.at)) ? fail(lexer, 'a number that runs into something') : 'number'
}

/** §2.1.8: blanks, line ends, commas, byte order marks and comments. False at a comment that does not end as one. */
function skipIgnored(lexer: Lexer): boolean {
  const { document } = lexer
  for (;;) {
    skip(lexer, IGNORED)
    if (skip(lexer, COMMENT) === '') return true
    const { at } = lexer
    if (at < document.length && document.charAt(at) !== '\n' && !document.startsWith('\r\n', at)) return false
  }
}

function readString(lexer: Lexer): TokenKind {
  lexer.at += 1
  let high = false
  for (;;) {
    if (skip(lexer, PLAIN) !== '' && high) break
    if (lexer.document.charAt(lexer.at) === '"') {
      return high ? fail(lexer, 'half of a surrogate pair') : step(lexer, 1, 'string')
    }
    const unit = readEscape(lexer)
    if (unit === null) return fail(lexer, 'a string without an end, or with an unknown escape')
    const low = unit >= 0xdc00 && unit <= 0xdfff
    if (low !== high) break
    high = unit >= 0xd800 && unit <= 0xdbff
  }
  return fail(lexer, 'half of a surrogate pair')
}

/** The code unit that the escape stands for, 0 where it does not matter, null where there is none. */
function readEscape(lexer: Lexer): number | null {
  ESCAPE.lastIndex = lexer.at
  const found = ESCAPE.exec(lexer.document)
  if (found === null) return null
  lexer.at += found[0].length
  const [, unit, scalar] = found
  if (scalar === undefined) return unit === undefined ? 0 : Number.parseInt(unit, 16)
  // §2.9.4: a scalar value in braces is whole, so half of a pair is none.
  const value = Number.parseInt(scalar, 16)
  return value > 0x10_ffff || (value >= 0xd800 && value <= 0xdfff) ? null : 0
}

function readBlock(lexer: Lexer): TokenKind {
  const { document } = lexer
  const start = lexer.at + BLOCK_QUOTE.length
  for (let end = document.indexOf(BLOCK_QUOTE, start); end !== -1; end = document.indexOf(BLOCK_QUOTE, end + 3)) {
    if (document.charAt(end - 1) === '\\') continue
    if (CONTROL.test(document.slice(start, end))) break
    return step(lexer, end + BLOCK_QUOTE.length - lexer.at, 'string')
  }
  return fail(lexer, 'a block string without an end, or with a control character')
}

function step(lexer: Lexer, length: number, kind: TokenKind): TokenKind {
  lexer.at += length
  return kind
}

/** Steps over what the sticky `pattern` matches here and returns it; the empty string where nothing does. */
function skip(lexer: Lexer, pattern: RegExp): string {
  pattern.lastIndex = lexer.at
  const found = pattern.exec(lexer.document)?.[0] ?? ''
  lexer.at += found.length
  return found
}
