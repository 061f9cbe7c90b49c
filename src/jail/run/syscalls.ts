// The system calls a jail needs and Node.js does not have: mount(2), prctl(2) and seccomp(2), through koffi.

import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type * as Koffi from 'koffi'

const MS_NOSUID = 2n
const MS_NODEV = 4n
const MS_NOEXEC = 8n
const MS_BIND = 4096n
const PR_SET_NO_NEW_PRIVS = 38
const PR_SET_SECCOMP = 22
const SECCOMP_MODE_FILTER = 2
const WNOHANG = 1
const F_SETFD = 2
const FD_CLOEXEC = 1

/** One instruction of classic BPF as the kernel has it (linux/filter.h). */
export interface FilterInstruction {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}

export interface Syscalls {
  /** An empty file system of at most `kilobytes` over `target`; what lies under it is out of reach. Throws with the errno's name. */
  mountEmpty(target: string, kilobytes: number, mode: string): void
  /** `source` shows at `target`, a file over a file or a folder over a folder. Throws with the errno's name. */
  bind(source: string, target: string): void
  /** For this process and all it starts from now on, for good. Throws with the errno's name. */
  filterSystemCalls(program: readonly FilterInstruction[]): void
  /** A program started from now on does not get the descriptor. */
  closeOnExec(fd: number): void
  /** Takes the exit status of a child that has ended, so that its process id is free again; does nothing for one that still runs. */
  reap(pid: number): void
}

/** Loaded when first needed: most verbs have no use for it. */
export function loadSyscalls(): Syscalls {
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
  // null is the running program: Node carries the C library's symbols, glibc's and musl's alike.
  const libc = koffi.load(null)
  const mount = libc.func('mount', 'int', ['str', 'str', 'str', 'ulong', 'str'])
  const instruction = koffi.struct({ code: 'uint16_t', jt: 'uint8_t', jf: 'uint8_t', k: 'uint32_t' })
  const program = koffi.struct({ len: 'uint16_t', filter: koffi.pointer(instruction) })
  const prctl = libc.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong'])
  const prctlWithFilter = libc.func('prctl', 'int', ['int', 'ulong', koffi.pointer(program)])
  const waitpid = libc.func('waitpid', 'int', ['int', 'void *', 'int'])
  const fcntl = libc.func('fcntl', 'int', ['int', 'int', 'int'])
  const check = (what: string, result: unknown): void => {
    if (result === 0) return
    const errno = koffi.errno()
    const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0]
    throw new Error(`${what}: ${name ?? `errno ${errno}`}`)
  }
  return {
    mountEmpty: (target, kilobytes, mode) => {
      const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
      check(`mount ${target}`, mount('mcp-egress', target, 'tmpfs', flags, `size=${kilobytes}k,mode=${mode}`))
    },
    bind: (source, target) => check(`bind ${target}`, mount(source, target, null, MS_BIND, null)),
    filterSystemCalls: (instructions) => {
      check('PR_SET_NO_NEW_PRIVS', prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
      const filter = { len: instructions.length, filter: [...instructions] }
      check('PR_SET_SECCOMP', prctlWithFilter(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter))
    },
    closeOnExec: (fd) => void fcntl(fd, F_SETFD, FD_CLOEXEC),
    reap: (pid) => void waitpid(pid, null, WNOHANG),
  }
}
