import { isIPv6 } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AddressClass,
  type AddressPolicy,
  type Cidr,
  classifyAddress,
  inCidr,
  judgeAddress,
  parseCidr,
} from '../../src/core/address-class.ts'

const cidr = (text: string): Cidr => parseCidr(text) as Cidr
const DEFAULT_DENY: AddressClass[] = ['metadata', 'loopback', 'link-local', 'private']
const policy = (deny: AddressClass[], allow: string[] = []): AddressPolicy => ({
  deny: new Set(deny),
  allow: allow.map(cidr),
})

describe('the class of an IPv4 address', () => {
  it.each<[string, AddressClass, string]>([
    ['169.254.169.254', 'metadata', 'AWS, Google, Azure [E01]'],
    ['100.100.100.200', 'metadata', 'Alibaba [E01]'],
    ['192.0.0.192', 'metadata', 'Oracle [E01]'],
    ['168.63.129.16', 'metadata', 'Azure wire server [E01]'],
    ['169.254.170.2', 'metadata', 'ECS credentials'],
    ['169.254.170.23', 'metadata', 'EKS credentials'],
    ['169.254.42.42', 'metadata', 'Scaleway'],
    ['168.63.129.15', 'public', 'beside the wire server'],
    ['127.0.0.1', 'loopback', '[E02]'],
    ['127.255.255.255', 'loopback', '[E02]'],
    ['128.0.0.0', 'public', 'behind loopback'],
    ['0.0.0.0', 'reserved', 'unspecified [E02]'],
    ['0.255.255.255', 'reserved', 'this network'],
    ['1.0.0.0', 'public', 'behind this network'],
    ['169.254.0.1', 'link-local', '[E06]'],
    ['169.254.255.255', 'link-local', '[E06]'],
    ['169.253.255.255', 'public', 'before link-local'],
    ['10.0.0.0', 'private', '[E06]'],
    ['10.255.255.255', 'private', '[E06]'],
    ['11.0.0.0', 'public', 'behind 10/8'],
    ['172.15.255.255', 'public', 'before 172.16/12'],
    ['172.16.0.0', 'private', '[E06]'],
    ['172.17.0.1', 'private', 'the docker bridge [E06]'],
    ['172.31.255.255', 'private', '[E06]'],
    ['172.32.0.0', 'public', 'behind 172.16/12'],
    ['192.168.0.0', 'private', '[E06]'],
    ['192.169.0.0', 'public', 'behind 192.168/16'],
    ['100.63.255.255', 'public', 'before CGNAT'],
    ['100.64.0.0', 'private', 'CGNAT [E06]'],
    ['100.127.255.255', 'private', 'CGNAT [E06]'],
    ['100.128.0.0', 'public', 'behind CGNAT'],
    ['192.0.0.1', 'reserved', 'IETF protocol assignments'],
    ['192.0.1.0', 'public', 'behind them'],
    ['192.0.2.1', 'reserved', 'TEST-NET-1 [E06]'],
    ['192.88.99.1', 'reserved', '6to4 relay anycast'],
    ['198.17.255.255', 'public', 'before benchmarking'],
    ['198.18.0.0', 'reserved', 'benchmarking [E06]'],
    ['198.19.255.255', 'reserved', 'benchmarking [E06]'],
    ['198.20.0.0', 'public', 'behind benchmarking'],
    ['198.51.100.1', 'public', 'TEST-NET-2'],
    ['203.0.113.1', 'public', 'TEST-NET-3'],
    ['223.255.255.255', 'public', 'before multicast'],
    ['224.0.0.1', 'reserved', 'multicast [E06]'],
    ['239.255.255.255', 'reserved', 'multicast [E06]'],
    ['240.0.0.0', 'reserved', '240/4 [E06]'],
    ['255.255.255.255', 'reserved', 'broadcast [E06]'],
    ['8.8.8.8', 'public', 'a public address'],
    ['140.82.121.6', 'public', 'a public address'],
  ])('%s is %s: %s', (text, expected) => {
    expect(classifyAddress(text)).toBe(expected)
  })
})

describe('the class of an IPv6 address', () => {
  it.each<[string, AddressClass, string]>([
    ['fd00:ec2::254', 'metadata', 'AWS [E01]'],
    ['fd00:0ec2:0:0:0:0:0:0254', 'metadata', 'AWS in full [E01]'],
    ['fd00:ec2::23', 'metadata', 'EKS'],
    ['fd20:ce::254', 'metadata', 'Google'],
    ['fe80::a9fe:a9fe', 'metadata', 'OpenStack'],
    ['fd00:42::42', 'metadata', 'Scaleway'],
    ['::', 'reserved', 'unspecified [E02]'],
    ['::1', 'loopback', '[E02]'],
    ['fe80::1', 'link-local', '[E06]'],
    ['febf:ffff::1', 'link-local', '[E06]'],
    ['fec0::1', 'private', 'site-local'],
    ['feff::1', 'private', 'site-local'],
    ['fc00::1', 'private', 'ULA [E06]'],
    ['fdff:ffff::1', 'private', 'ULA [E06]'],
    ['fbff::1', 'reserved', 'before ULA'],
    ['fe00::1', 'reserved', 'behind ULA'],
    ['ff02::1', 'reserved', 'multicast [E06]'],
    ['100::1', 'reserved', 'discard-only'],
    ['100:0:0:1::1', 'reserved', 'dummy prefix'],
    ['5f00::1', 'reserved', 'segment routing'],
    ['1fff::1', 'reserved', 'before global unicast'],
    ['4000::1', 'reserved', 'behind global unicast'],
    ['2001:0:a00:1::f7f7:f7f7', 'private', 'Teredo with a private server'],
    ['2001:2::1', 'reserved', 'benchmarking'],
    ['2001:10::1', 'reserved', 'ORCHID'],
    ['2001:1ff:ffff::1', 'reserved', 'the end of the IETF assignments'],
    ['2001:200::1', 'public', 'behind the IETF assignments'],
    ['2001:db8::1', 'public', 'documentation'],
    ['3fff::1', 'public', 'documentation'],
    ['3fff:fff::1', 'public', 'documentation'],
    ['3fff:1000::1', 'public', 'behind documentation'],
    ['2606:4700::1111', 'public', 'a public address'],
    ['2a00:1450:4001::200e', 'public', 'a public address'],
  ])('%s is %s: %s', (text, expected) => {
    expect(classifyAddress(text)).toBe(expected)
  })
})

describe('the class of an IPv6 address with an IPv4 one inside', () => {
  it.each<[string, string, AddressClass]>([
    ['mapped', '::ffff:169.254.169.254', 'metadata'],
    ['mapped in hex', '::ffff:a9fe:a9fe', 'metadata'],
    ['mapped', '::ffff:127.0.0.1', 'loopback'],
    ['mapped', '::ffff:10.0.0.1', 'private'],
    ['mapped', '::ffff:0.0.0.0', 'reserved'],
    ['mapped public', '::ffff:8.8.8.8', 'public'],
    ['compatible', '::127.0.0.1', 'loopback'],
    ['compatible', '::169.254.169.254', 'metadata'],
    ['compatible public', '::8.8.8.8', 'reserved'],
    ['compatible small', '::2', 'reserved'],
    ['translated', '::ffff:0:169.254.169.254', 'metadata'],
    ['translated public', '::ffff:0:8.8.8.8', 'reserved'],
    ['NAT64', '64:ff9b::169.254.169.254', 'metadata'],
    ['NAT64', '64:ff9b::10.0.0.1', 'private'],
    ['NAT64 public', '64:ff9b::8.8.8.8', 'public'],
    ['NAT64 beside its prefix', '64:ff9b::1:8.8.8.8', 'reserved'],
    ['local NAT64', '64:ff9b:1::127.0.0.1', 'loopback'],
    ['local NAT64 public', '64:ff9b:1::8.8.8.8', 'public'],
    ['local NAT64 in the layout of /48, public behind it', '64:ff9b:1:a9fe:a9:fe00:808:808', 'metadata'],
    ['local NAT64 in the layout of /56, public behind it', '64:ff9b:1:8a9:fe:a9fe:808:808', 'metadata'],
    ['local NAT64 in the layout of /64, public behind it', '64:ff9b:1:808:a9:fea9:fe08:808', 'metadata'],
    ['local NAT64, public in every layout', '64:ff9b:1:808:8:808:808:808', 'reserved'],
    ['6to4', '2002:7f00:1::', 'loopback'],
    ['6to4', '2002:a9fe:a9fe::1', 'metadata'],
    ['6to4', '2002:c0a8:101::1', 'private'],
    ['6to4 public', '2002:808:808::1', 'reserved'],
    ['Teredo, by its client', '2001:0:808:808::5601:5601', 'metadata'],
    ['Teredo, by its client', '2001:0:808:808::80ff:fffe', 'loopback'],
    ['Teredo, by its server', '2001:0:a9fe:a9fe::f7f7:f7f7', 'metadata'],
    ['Teredo public', '2001:0:808:808::f7f7:f7f7', 'reserved'],
    ['ISATAP', '2606:4700::5efe:10.0.0.1', 'private'],
    ['ISATAP', '2606:4700::200:5efe:169.254.169.254', 'metadata'],
    ['ISATAP public', '2606:4700::5efe:8.8.8.8', 'public'],
    ['ISATAP, the prefix is worse', 'fe80::5efe:8.8.8.8', 'link-local'],
    ['ISATAP, the prefix is worse', 'fe80::5efe:10.0.0.1', 'link-local'],
    ['ISATAP, the address is worse', 'fe80::200:5efe:127.0.0.1', 'loopback'],
    ['ISATAP under a prefix that nobody has', '4000::5efe:169.254.169.254', 'metadata'],
    ['no ISATAP', '2606:4700::300:5efe:10.0.0.1', 'public'],
  ])('%s %s is %s', (_form, text, expected) => {
    expect(classifyAddress(text)).toBe(expected)
  })

  it('a mapped address has the class of what it stands for', () => {
    fc.assert(
      fc.property(fc.ipV4(), (text) => {
        expect(classifyAddress(`::ffff:${text}`)).toBe(classifyAddress(text))
      }),
    )
  })

  it('an address that carries one that is not public is never public', () => {
    const forms = [
      (hex: string): string => `::ffff:${hex}`,
      (hex: string): string => `::ffff:0:${hex}`,
      (hex: string): string => `::${hex}`,
      (hex: string): string => `64:ff9b::${hex}`,
      (hex: string): string => `64:ff9b:1::${hex}`,
      (hex: string): string => `2002:${hex}::1`,
      (hex: string): string => `2001:0:${hex}::1`,
      (hex: string): string => `2606:4700::5efe:${hex}`,
      (hex: string): string => `2606:4700::200:5efe:${hex}`,
    ]
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom(...forms), (text, form) => {
        const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number]
        const hex = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
        expect(isIPv6(form(hex))).toBe(true)
        const harmless = classifyAddress(text) === 'public'
        expect(classifyAddress(form(hex)) === 'public' && !harmless).toBe(false)
      }),
    )
  })
})

describe('what is no address is reserved', () => {
  it.each(['', 'localhost', '127.1', '0177.0.0.1', 'fe80::1%eth0', '[::1]', '8.8.8.8 ', '8.8.8.8\0', '::1::'])(
    '%j',
    (text) => {
      expect(classifyAddress(text)).toBe('reserved')
    },
  )

  it('and any text has a class', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(judgeAddress(policy([]), text)).toEqual({ allowed: false, cls: 'reserved' })
      }),
    )
  })
})

describe('a CIDR', () => {
  it.each<[string, Cidr]>([
    ['10.0.0.0/8', { base: [10, 0, 0, 0], prefix: 8 }],
    ['0.0.0.0/0', { base: [0, 0, 0, 0], prefix: 0 }],
    ['172.30.0.5', { base: [172, 30, 0, 5], prefix: 32 }],
    ['::ffff:10.0.0.0/104', { base: [10, 0, 0, 0], prefix: 8 }],
    ['::ffff:10.0.0.1', { base: [10, 0, 0, 1], prefix: 32 }],
  ])('%s', (text, expected) => {
    expect(parseCidr(text)).toEqual(expected)
  })

  it.each([
    '',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/+8',
    '10.0.0.0/8 ',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '10/8',
    '10.0.0.1/8',
    '10.0.0.128/24',
    '::1/64',
    '::/129',
    '::ffff:0:0/95',
    'fe80::%eth0/10',
    '[::]/0',
    'example.com/8',
  ])('%j is none', (text) => {
    expect(parseCidr(text)).toBeNull()
  })

  it.each<[string, string, boolean]>([
    ['172.30.0.5', '172.30.0.5', true],
    ['172.30.0.5', '::ffff:172.30.0.5', true],
    ['172.30.0.5', '172.30.0.6', false],
    ['10.20.0.0/15', '10.21.255.255', true],
    ['10.20.0.0/15', '10.22.0.0', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '::1', true],
    ['::/0', '10.0.0.1', false],
    ['::/0', '::ffff:10.0.0.1', false],
    ['fd00:1234::/33', 'fd00:1234:7fff::1', true],
    ['fd00:1234::/33', 'fd00:1234:8000::1', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['10.0.0.0/8', '10.1', false],
  ])('%s holds %s: %s', (block, address, expected) => {
    expect(inCidr(cidr(block), address)).toBe(expected)
  })
})

describe('the judgement of an address', () => {
  const allowed = { allowed: true }
  it.each<[string, AddressPolicy, string, object]>([
    ['public by default', policy(DEFAULT_DENY), '8.8.8.8', allowed],
    ['loopback by default', policy(DEFAULT_DENY), '::1', { allowed: false, cls: 'loopback' }],
    ['private by default', policy(DEFAULT_DENY), '10.0.0.1', { allowed: false, cls: 'private' }],
    ['link-local by default', policy(DEFAULT_DENY), 'fe80::1', { allowed: false, cls: 'link-local' }],
    ['mapped private by default', policy(DEFAULT_DENY), '::ffff:10.0.0.1', { allowed: false, cls: 'private' }],
    ['private taken off the list', policy(['loopback']), '10.0.0.1', allowed],
    ['private, carved out', policy(DEFAULT_DENY, ['10.20.0.0/16']), '10.20.1.1', allowed],
    ['private, carved out, mapped', policy(DEFAULT_DENY, ['10.20.0.0/16']), '::ffff:10.20.1.1', allowed],
    ['private beside it', policy(DEFAULT_DENY, ['10.20.0.0/16']), '10.21.1.1', { allowed: false, cls: 'private' }],
    ['loopback, carved out', policy(DEFAULT_DENY, ['127.0.0.1']), '127.0.0.1', allowed],
    ['link-local, carved out', policy(DEFAULT_DENY, ['fe80::/10']), 'fe80::1', allowed],
    ['reserved, without a list', policy([]), '198.18.0.1', { allowed: false, cls: 'reserved' }],
    ['reserved, carved out', policy([], ['fd00::/8', '198.18.0.0/15']), '198.18.0.1', allowed],
    ['metadata, without a list [E01]', policy([]), '169.254.169.254', { allowed: false, cls: 'metadata' }],
    ['a public block that the list denies', policy(['public']), '8.8.8.8', { allowed: false, cls: 'public' }],
    ['a public block carved out again', policy(['public'], ['8.8.8.0/24']), '8.8.8.8', allowed],
  ])('%s', (_what, rules, address, expected) => {
    expect(judgeAddress(rules, address)).toEqual(expected)
  })

  it.each([
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '64:ff9b::169.254.169.254',
    '2002:a9fe:a9fe::1',
    'fd00:ec2::254',
    '100.100.100.200',
    '168.63.129.16',
  ])('no carve-out opens metadata: %s [E01]', (address) => {
    const open = policy([], ['0.0.0.0/0', '::/0', '169.254.169.254/32', 'fd00:ec2::254/128'])
    expect(judgeAddress(open, address)).toEqual({ allowed: false, cls: 'metadata' })
  })
})
