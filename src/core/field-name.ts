// What a field name is to a proxy: whether it frames the message, binds it to a host, stays on one hop, or is any other.

/** What is asked of names; a name has one bit of each that holds. */
export const HOST = 0x1
export const CONTENT_LENGTH = 0x2
export const TRANSFER_ENCODING = 0x4
export const CONNECTION = 0x8
export const EXPECT = 0x10
export const UPGRADE = 0x20
/** Carries credentials, or asks for them, in the schemes of RFC 9110 §11. */
export const AUTHENTICATION = 0x40
/** Not passed on in a request, a final response, an interim response. */
export const DROPPED_FROM_REQUESTS = 0x80
export const DROPPED_FROM_RESPONSES = 0x100
export const DROPPED_FROM_INTERIM = 0x200

/** About this connection only, not about the message (RFC 9110 §7.6.1, §10.1, §11.7, RFC 9113 §3.1). */
const HOP_BY_HOP = DROPPED_FROM_REQUESTS | DROPPED_FROM_RESPONSES | DROPPED_FROM_INTERIM

const ROLES: ReadonlyMap<string, number> = new Map([
  ['connection', CONNECTION | HOP_BY_HOP],
  ['keep-alive', HOP_BY_HOP],
  ['proxy-connection', HOP_BY_HOP],
  ['proxy-authenticate', HOP_BY_HOP],
  ['proxy-authentication-info', HOP_BY_HOP],
  ['proxy-authorization', HOP_BY_HOP],
  ['te', HOP_BY_HOP],
  ['trailer', HOP_BY_HOP],
  ['transfer-encoding', TRANSFER_ENCODING | HOP_BY_HOP],
  ['upgrade', UPGRADE | HOP_BY_HOP],
  ['http2-settings', HOP_BY_HOP],
  // Host is written first by the sender, from the permit. We answer Expect ourselves.
  ['host', HOST | DROPPED_FROM_REQUESTS],
  ['expect', EXPECT | DROPPED_FROM_REQUESTS],
  // SECURITY: Alt-Svc invites the client to a way that does not lead past us.
  ['alt-svc', DROPPED_FROM_RESPONSES | DROPPED_FROM_INTERIM],
  // SECURITY: RFC 9110 §8.6 forbids it in an interim response; a client that obeys it would take the final answer for a body.
  ['content-length', CONTENT_LENGTH | DROPPED_FROM_INTERIM],
  ['authorization', AUTHENTICATION],
  ['www-authenticate', AUTHENTICATION],
])

interface Name {
  readonly lower: string
  /** As most senders of HTTP/1.1 spell it: `Content-Length`. */
  readonly usual: string
}

/** Names by length and first letter, which tell nearly all of them apart. */
export type NameIndex = readonly (readonly Name[] | null)[]

const LETTERS = 32

export function indexNames(lowerNames: readonly string[]): NameIndex {
  const longest = Math.max(...lowerNames.map(({ length }) => length))
  const index: Name[][] = Array.from({ length: (longest + 1) * LETTERS }, () => [])
  for (const lower of lowerNames) {
    const usual = lower.replace(/(?:^|-)[a-z]/g, (start) => start.toUpperCase())
    ;(index[placeOf(lower)] as Name[]).push({ lower, usual })
  }
  return index.map((names) => (names.length === 0 ? null : names))
}

/** The names of the index that `name` could be, in any case; null: certainly none. */
export function namesLike(index: NameIndex, name: string): readonly Name[] | null {
  const place = placeOf(name)
  return place < index.length ? (index[place] as readonly Name[] | null) : null
}

/** The low five bits of an ASCII letter are its place in the alphabet, in either case. */
function placeOf(name: string): number {
  return name.length * LETTERS + (name.charCodeAt(0) & (LETTERS - 1))
}

const INDEX = indexNames([...ROLES.keys()])

/** The bits of the name in any case; 0 for every name that is nothing of this. */
export function roleOf(name: string): number {
  // Nine names of ten end here, at 4 ns; lower-casing one and looking it up takes 80.
  const likely = namesLike(INDEX, name)
  if (likely === null) return 0
  for (const { lower, usual } of likely) {
    if (name === usual || name === lower || name.toLowerCase() === lower) return ROLES.get(lower) as number
  }
  return 0
}
