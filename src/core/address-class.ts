// What kind of network an address belongs to, and whether policy lets the proxy dial it.

import { addressBytes, isMapped } from './address.ts'

/** `reserved` is all that is not global unicast and has no name of its own, and all that is no address. */
export type AddressClass = 'public' | 'metadata' | 'loopback' | 'link-local' | 'private' | 'reserved'

/** A block of addresses: the network's bytes (4 or 16) and the length of its prefix in bits. */
export interface Cidr {
  readonly base: readonly number[]
  readonly prefix: number
}

/** `deny` adds to `metadata` and `reserved`, which are always denied; `allow` is carved out of all but `metadata`. */
export interface AddressPolicy {
  readonly deny: ReadonlySet<AddressClass>
  readonly allow: readonly Cidr[]
}

export type AddressVerdict = { readonly allowed: true } | { readonly allowed: false; readonly cls: AddressClass }

type Bytes = readonly number[]

/** A block and its class. `embedded`: where an IPv4 address may stand inside; its class counts unless it is public. */
interface Row {
  readonly cidr: Cidr
  readonly cls: AddressClass
  readonly embedded: readonly ((bytes: Bytes) => Bytes)[]
}

/** How bad it is to reach the class: of several readings of one address the worst counts. */
const SEVERITY: Readonly<Record<AddressClass, number>> = {
  public: 0,
  private: 1,
  'link-local': 2,
  loopback: 3,
  reserved: 4,
  metadata: 5,
}

const MAPPED_PREFIX = 96
const lastFour = (bytes: Bytes): Bytes => bytes.slice(12)
const inverted = (bytes: Bytes): Bytes => bytes.slice(12).map((byte) => byte ^ 0xff)
const pick =
  (...indices: number[]) =>
  (bytes: Bytes): Bytes =>
    bytes.filter((_, index) => indices.includes(index))

/** The first match counts, and the last rows match everything. IANA Special-Purpose Address Registries, RFC 6890. */
const ROWS: readonly Row[] = [
  // Metadata and credential services: AWS, Google, Azure and most others, Alibaba, Oracle, Azure's wire server,
  // ECS, EKS, OpenStack, Scaleway.
  row('169.254.169.254/32', 'metadata'),
  row('fd00:ec2::254/128', 'metadata'),
  row('fd20:ce::254/128', 'metadata'),
  row('100.100.100.200/32', 'metadata'),
  row('192.0.0.192/32', 'metadata'),
  row('168.63.129.16/32', 'metadata'),
  row('169.254.170.2/32', 'metadata'),
  row('169.254.170.23/32', 'metadata'),
  row('fd00:ec2::23/128', 'metadata'),
  row('fe80::a9fe:a9fe/128', 'metadata'),
  row('169.254.42.42/32', 'metadata'),
  row('fd00:42::42/128', 'metadata'),
  row('127.0.0.0/8', 'loopback'),
  row('::1/128', 'loopback'),
  row('169.254.0.0/16', 'link-local'),
  row('fe80::/10', 'link-local'),
  row('10.0.0.0/8', 'private'),
  row('172.16.0.0/12', 'private'),
  row('192.168.0.0/16', 'private'),
  row('100.64.0.0/10', 'private'),
  row('fc00::/7', 'private'),
  row('fec0::/10', 'private'),
  row('0.0.0.0/8', 'reserved'),
  row('192.0.0.0/24', 'reserved'),
  row('192.0.2.0/24', 'reserved'),
  row('192.88.99.0/24', 'reserved'),
  row('198.18.0.0/15', 'reserved'),
  // Documentation (RFC 5737, RFC 3849): labs route these as their internet, and nothing that needs protection lives there.
  row('198.51.100.0/24', 'public'),
  row('203.0.113.0/24', 'public'),
  row('224.0.0.0/4', 'reserved'),
  row('240.0.0.0/4', 'reserved'),
  row('0.0.0.0/0', 'public'),
  // RFC 4291 §2.5.5.1 compatible, RFC 7915 §2.2 translated, RFC 6052 §2.1 NAT64.
  // Mapped addresses never come here: they are read as the IPv4 address they stand for.
  row('::/96', 'reserved', lastFour),
  row('::ffff:0:0:0/96', 'reserved', lastFour),
  row('64:ff9b::/96', 'public', lastFour),
  row('64:ff9b:1::/96', 'public', lastFour),
  // SECURITY: RFC 8215 leaves the prefix length to the site, so an address may be read in any layout of RFC 6052 §2.2.
  row('64:ff9b:1::/48', 'reserved', pick(6, 7, 9, 10), pick(7, 9, 10, 11), pick(9, 10, 11, 12), lastFour),
  // RFC 3056 §2 6to4; RFC 4380 §4 Teredo: the server's address, and the client's with its bits inverted.
  row('2002::/16', 'reserved', pick(2, 3, 4, 5)),
  row('2001::/32', 'reserved', pick(4, 5, 6, 7), inverted),
  row('2001::/23', 'reserved'),
  row('2001:db8::/32', 'public'),
  row('3fff::/20', 'public'),
  // All that IANA has opened as global unicast: an IPv6 block unknown to this table is never public.
  row('2000::/3', 'public'),
  row('::/0', 'reserved'),
]

/** RFC 5214 §6.1: bytes 8 to 11 of an ISATAP address, under any prefix; its last four are an IPv4 address. */
const ISATAP = new Set(['0,0,94,254', '2,0,94,254'])

/** The class of a v4 or v6 text without brackets. */
export function classifyAddress(text: string): AddressClass {
  const bytes = addressBytes(text)
  return bytes === null ? 'reserved' : classify(unmapped(bytes))
}

/** `10.0.0.0/8`, `fc00::/7`, or a bare address as a block of one; null for all else, bits past the prefix included. */
export function parseCidr(text: string): Cidr | null {
  const slash = text.indexOf('/')
  const bytes = addressBytes(slash < 0 ? text : text.slice(0, slash))
  if (bytes === null) return null
  const bits = bytes.length * 8
  const length = slash < 0 ? String(bits) : text.slice(slash + 1)
  const prefix = Number(length)
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(length) || prefix > bits) return null
  if (bytes.some((byte, index) => (byte & mask(prefix, index)) !== byte)) return null
  return isMapped(bytes) ? { base: lastFour(bytes), prefix: prefix - MAPPED_PREFIX } : { base: bytes, prefix }
}

/** Whether `address` lies in `cidr`; a mapped `::ffff:a.b.c.d` is a.b.c.d. False for what is no address. */
export function inCidr(cidr: Cidr, address: string): boolean {
  const bytes = addressBytes(address)
  return bytes !== null && contains(cidr, unmapped(bytes))
}

/** Whether `policy` lets the proxy dial `address`, a v4 or v6 text without brackets. */
export function judgeAddress(policy: AddressPolicy, address: string): AddressVerdict {
  const cls = classifyAddress(address)
  // SECURITY: before the carve-outs, so that no configuration opens the credentials of the machine.
  if (cls === 'metadata') return { allowed: false, cls }
  if (cls !== 'reserved' && !policy.deny.has(cls)) return { allowed: true }
  return policy.allow.some((cidr) => inCidr(cidr, address)) ? { allowed: true } : { allowed: false, cls }
}

function classify(bytes: Bytes): AddressClass {
  const { cls, embedded } = ROWS.find(({ cidr }) => contains(cidr, bytes)) as Row
  const inside = embedded.map((read) => classify(read(bytes))).reduce(worse, 'public')
  const own = inside === 'public' ? cls : inside
  return ISATAP.has(bytes.slice(8, 12).join()) ? worse(own, classify(lastFour(bytes))) : own
}

function worse(a: AddressClass, b: AddressClass): AddressClass {
  return SEVERITY[a] < SEVERITY[b] ? b : a
}

function unmapped(bytes: Bytes): Bytes {
  return isMapped(bytes) ? lastFour(bytes) : bytes
}

function contains(cidr: Cidr, bytes: Bytes): boolean {
  const { base, prefix } = cidr
  return base.length === bytes.length && bytes.every((byte, index) => (byte & mask(prefix, index)) === base[index])
}

/** The bits of byte `index` that belong to a prefix of `prefix` bits. */
function mask(prefix: number, index: number): number {
  const bits = Math.min(Math.max(prefix - index * 8, 0), 8)
  return (0xff00 >> bits) & 0xff
}

function row(cidr: string, cls: AddressClass, ...embedded: Row['embedded']): Row {
  return { cidr: parseCidr(cidr) as Cidr, cls, embedded }
}
