// Credentials in header fields: what of a value is secret by the field's own grammar, and what stays.

/** `sealed`: for what is secret. `kept`: for names and attributes, which may still hold what somebody put there by mistake. */
export interface Parts {
  readonly sealed: (value: string) => string
  readonly kept: (text: string) => string
}

/** The value with its credentials sealed, or null for a field that has no such grammar. `lowerName` in lower case. */
export function sealCredentialField(lowerName: string, value: string, parts: Parts): string | null {
  switch (lowerName) {
    case 'cookie':
      return sealCookie(value, parts)
    case 'set-cookie':
      return sealSetCookie(value, parts)
    case 'authorization':
    case 'proxy-authorization':
      return sealCredentials(value, parts)
    default:
      return null
  }
}

/** RFC 6265 §4.2: every crumb keeps its name. */
function sealCookie(value: string, parts: Parts): string {
  return Array.from(value.split(';'), (crumb) => sealPair(crumb, parts)).join(';')
}

/** ` a=b`: a crumb without a name is a value. */
function sealPair(crumb: string, { sealed, kept }: Parts): string {
  const space = crumb.startsWith(' ') ? ' ' : ''
  const pair = crumb.slice(space.length)
  const equals = pair.indexOf('=')
  if (equals < 0) return space + sealed(pair)
  return `${space}${kept(pair.slice(0, equals))}=${sealed(pair.slice(equals + 1))}`
}

/** RFC 6265 §4.1: the attributes stay. */
function sealSetCookie(value: string, parts: Parts): string {
  const semicolon = value.indexOf(';')
  if (semicolon < 0) return sealPair(value, parts)
  return sealPair(value.slice(0, semicolon), parts) + parts.kept(value.slice(semicolon))
}

/** RFC 9110 §11.4: the scheme stays. */
function sealCredentials(value: string, { sealed, kept }: Parts): string {
  const space = /^[A-Za-z][\w-]{0,31} /.exec(value)?.[0].length ?? 0
  return kept(value.slice(0, space)) + sealed(value.slice(space))
}
