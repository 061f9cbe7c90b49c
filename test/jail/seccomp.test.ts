// The system-call filter, run by an interpreter of classic BPF over the calls it has to tell apart.

import { describe, expect, it } from 'vitest'
import { socketFilter } from '../../src/jail/run/seccomp.ts'
import type { FilterInstruction } from '../../src/jail/run/syscalls.ts'

const ALLOWED = 'allowed'
const X64 = 0xc000003e
const ARM64 = 0xc00000b7
const I386 = 0x40000003

interface Call {
  readonly arch: number
  readonly nr: number
  readonly first?: number
}

/** What the kernel would do: `allowed`, or the errno. Only the instructions the program uses. */
function judge(program: readonly FilterInstruction[], { arch, nr, first = 0 }: Call): number | typeof ALLOWED {
  const data: Record<number, number> = { 0: nr, 4: arch, 16: first }
  let accumulator = 0
  for (let at = 0; at < program.length; at += 1) {
    const { code, jt, jf, k } = program[at] as FilterInstruction
    if (code === 0x20) accumulator = data[k] ?? Number.NaN
    else if (code === 0x15) at += accumulator === k ? jt : jf
    else if (code === 0x35) at += accumulator >>> 0 >= k ? jt : jf
    else if (code === 0x06) return k === 0x7fff0000 ? ALLOWED : k & 0xffff
    else throw new Error(`instruction ${code}`)
  }
  throw new Error('the program has no end')
}

const machines = [
  { name: 'x64', arch: X64, socket: 41, socketpair: 53, read: 0 },
  { name: 'arm64', arch: ARM64, socket: 198, socketpair: 199, read: 63 },
] as const

describe.each(machines)('the filter for $name', ({ name, arch, socket, socketpair, read }) => {
  const program = socketFilter(name) ?? []

  it.each([
    ['AF_UNIX', 1],
    ['AF_INET', 2],
    ['AF_INET6', 10],
    ['AF_NETLINK', 16],
  ])('leaves %s sockets alone', (_, family) => {
    expect(judge(program, { arch, nr: socket, first: family })).toBe(ALLOWED)
    expect(judge(program, { arch, nr: socketpair, first: family })).toBe(ALLOWED)
  })

  it('refuses every other family, as a kernel without it would', () => {
    const others = Array.from({ length: 64 }, (_, family) => family).filter((f) => ![1, 2, 10, 16].includes(f))
    for (const family of others) {
      expect(judge(program, { arch, nr: socket, first: family })).toBe(97)
      expect(judge(program, { arch, nr: socketpair, first: family })).toBe(97)
    }
  })

  it('refuses io_uring, by which a socket is made without socket(2)', () => {
    expect(judge(program, { arch, nr: 425 })).toBe(38)
  })

  it('refuses the calls of other architectures, whose numbers mean other things', () => {
    expect(judge(program, { arch: I386, nr: 102, first: 1 })).toBe(38)
    expect(judge(program, { arch: arch === X64 ? ARM64 : X64, nr: socket, first: 2 })).toBe(38)
  })

  it('leaves everything else alone', () => {
    const others = [read, 1, 2, 57, 220, 300, 435].filter((nr) => nr !== socket && nr !== socketpair)
    expect(others.map((nr) => judge(program, { arch, nr, first: 40 }))).toEqual(others.map(() => ALLOWED))
  })
})

it('refuses the x32 calls of x64', () => {
  expect(judge(socketFilter('x64') ?? [], { arch: X64, nr: 0x40000000 + 41, first: 40 })).toBe(38)
})

it('knows no filter for a machine whose numbers it does not know', () => {
  expect(socketFilter('riscv64')).toBeNull()
})
