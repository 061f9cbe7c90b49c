// Which addresses are this proxy: its own listeners, by any address that this machine answers to.

import { networkInterfaces } from 'node:os'
import { classifyAddress } from '../core/address-class.ts'

const REFRESH_MS = 5_000

/** Answers for the ports that were named; interfaces are read again every 5 s. */
export class SelfCheck {
  #ports: ReadonlySet<number> = new Set()
  readonly #now: () => number
  #local = new Set<string>()
  #read = Number.NEGATIVE_INFINITY

  constructor(now: () => number) {
    this.#now = now
  }

  /** All of them; what was said before is forgotten. */
  listensOn(ports: Iterable<number>): void {
    this.#ports = new Set(ports)
  }

  isSelf(address: string, port: number): boolean {
    if (!this.#ports.has(port)) return false
    const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
    if (classifyAddress(plain) === 'loopback' || plain === '0.0.0.0' || plain === '::') return true
    return this.#addresses().has(plain)
  }

  #addresses(): Set<string> {
    if (this.#now() - this.#read > REFRESH_MS) {
      this.#read = this.#now()
      const found = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
      this.#local = new Set(found.map((entry) => entry.address))
    }
    return this.#local
  }
}
