// The system-call filter of a jail: sockets of the families that a network namespace holds, and no other way to make one.

import type { FilterInstruction } from './syscalls.ts'

/** What is known of the machine: AUDIT_ARCH (linux/audit.h) and the numbers of the calls that the filter looks at. */
interface Machine {
  readonly audit: number
  readonly socket: number
  readonly socketpair: number
}

const MACHINES: Readonly<Partial<Record<NodeJS.Architecture, Machine>>> = {
  x64: { audit: 0xc000003e, socket: 41, socketpair: 53 },
  arm64: { audit: 0xc00000b7, socket: 198, socketpair: 199 },
}

/** The same number on every architecture that has it (asm-generic). */
const IO_URING_SETUP = 425
/** Set in the numbers of the x32 calls, which x64 answers beside its own. */
const X32_BIT = 0x40000000

/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: each namespace has its own of these. */
const FAMILIES = [1, 2, 10, 16]

const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_GREATER_OR_EQUAL = 0x35
const RETURN = 0x06
const ALLOW = 0x7fff0000
const ERRNO = 0x00050000
const ENOSYS = 38
const EAFNOSUPPORT = 97
/** Offsets in struct seccomp_data. */
const NUMBER = 0
const ARCHITECTURE = 4
/** Low half of the first argument; both machines are little-endian. */
const FIRST_ARGUMENT = 16

/**
 * Null on a machine whose numbers are not known here. AF_VSOCK is why there is a filter: it reaches the host of a virtual machine
 * and knows nothing of network namespaces; so do AF_BLUETOOTH, AF_QIPCRTR and whatever comes next.
 */
export function socketFilter(architecture: NodeJS.Architecture): readonly FilterInstruction[] | null {
  const machine = MACHINES[architecture]
  if (machine === undefined) return null
  const families = FAMILIES.map((family, index) => jumpIfEqual(family, FAMILIES.length - index, 0))
  const program = [
    load(ARCHITECTURE),
    // SECURITY: 32-bit calls have numbers of their own, and socketcall(2) hides the family behind a pointer.
    jumpIfEqual(machine.audit, 1, 0),
    ret(ERRNO | ENOSYS),
    load(NUMBER),
    ...(architecture === 'x64' ? [jumpIfAtLeast(X32_BIT, 0, 1), ret(ERRNO | ENOSYS)] : []),
    // SECURITY: a ring makes sockets (IORING_OP_SOCKET) without the call that is filtered.
    jumpIfEqual(IO_URING_SETUP, 0, 1),
    ret(ERRNO | ENOSYS),
    jumpIfEqual(machine.socket, 2, 0),
    jumpIfEqual(machine.socketpair, 1, 0),
    ret(ALLOW),
    load(FIRST_ARGUMENT),
    ...families,
    ret(ERRNO | EAFNOSUPPORT),
    ret(ALLOW),
  ]
  return program
}

function load(k: number): FilterInstruction {
  return { code: LOAD, jt: 0, jf: 0, k }
}

function jumpIfEqual(k: number, jt: number, jf: number): FilterInstruction {
  return { code: JUMP_EQUAL, jt, jf, k }
}

function jumpIfAtLeast(k: number, jt: number, jf: number): FilterInstruction {
  return { code: JUMP_GREATER_OR_EQUAL, jt, jf, k }
}

function ret(k: number): FilterInstruction {
  return { code: RETURN, jt: 0, jf: 0, k }
}
