// What was learned of the bodies of each rule: kept for all connections, and written to its file behind their backs.

import { KnownShape } from '../core/known-shape.ts'
import type { Shapes } from './deps.ts'
import { type ReadShapes, readShapes, sameStamp, type Stamp, stampAt, writeShapes } from './shape-file.ts'

export interface ShapeStoreOptions {
  /** SECURITY: a name that holds a secret is never learned: it would lie on the disk. */
  readonly isSecret: (member: string) => boolean
  /** Told once when the file can not be written, and once when it can again. */
  readonly onFailure: (error: Error) => void
  readonly onRestored: () => void
  /** A rule has learned as many members as it has room for. */
  readonly onFull: (rule: string) => void
}

interface Learned {
  readonly rule: string
  readonly member: string
}

/** While there is something to learn the file is written no more often. */
const WRITE_MS = 1_000
/** A disk that fails is tried again, and not at every request. */
const RETRY_MS = 10_000
/** More is learned again once there is a file for it. */
const MAX_UNWRITTEN = 65_536

export class ShapeStore implements Shapes {
  readonly #options: ShapeStoreOptions
  #path = ''
  #shapes = new Map<string, KnownShape>()
  /** Of the file as it was last read or written. */
  #stamp: Stamp | null = null
  /** What is not in the file yet. */
  #unwritten: Learned[] = []
  readonly #full = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> | null = null
  #failing = false

  constructor(options: ShapeStoreOptions) {
    this.#options = options
  }

  /** The file can not be written. */
  get failing(): boolean {
    return this.#failing
  }

  knows(rule: string, member: string | null): boolean {
    const shape = this.#shapes.get(rule)
    if (shape === undefined) return false
    return member === null ? shape.size > 0 : shape.knows(member)
  }

  learn(rule: string, members: readonly string[]): void {
    for (const member of members) {
      if (this.#unwritten.length === MAX_UNWRITTEN) break
      if (!this.#options.isSecret(member) && this.#add(rule, member)) this.#unwritten.push({ rule, member })
    }
    if (this.#unwritten.length > 0 && this.#timer === null && this.#writing === null) this.#writeIn(WRITE_MS)
  }

  /**
   * Reads the file at `path` anew; what it says is known once the result is called, with what was learned and is not written yet. Throws
   * an Error that names the file and the fix.
   */
  reread(path: string): () => void {
    const read = readShapes(path)
    return () => {
      this.#path = path
      this.#install(read)
    }
  }

  /** Resolves when all that was learned is written, or can not be. */
  async close(): Promise<void> {
    await this.#writing
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#unwritten.length > 0) await this.#write()
  }

  #add(rule: string, member: string): boolean {
    const shape = this.#shapes.get(rule) ?? new KnownShape()
    if (shape.add(member)) {
      this.#shapes.set(rule, shape)
      return true
    }
    if (!shape.knows(member) && !this.#full.has(rule)) {
      this.#full.add(rule)
      this.#options.onFull(rule)
    }
    return false
  }

  #install({ shapes, stamp }: ReadShapes): void {
    this.#shapes = shapes
    this.#stamp = stamp
    this.#full.clear()
    for (const { rule, member } of this.#unwritten) this.#add(rule, member)
  }

  #writeIn(milliseconds: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#writing = this.#write().finally(() => {
        this.#writing = null
        if (this.#unwritten.length > 0) this.#writeIn(this.#failing ? RETRY_MS : WRITE_MS)
      })
    }, milliseconds)
    this.#timer.unref()
  }

  async #write(): Promise<void> {
    const path = this.#path
    try {
      // SECURITY: an operator may have taken a member out meanwhile: it is not put back for having been there.
      if (!sameStamp(stampAt(path), this.#stamp)) this.#install(readShapes(path))
      const written = this.#unwritten.length
      this.#stamp = await writeShapes(path, this.#shapes)
      this.#unwritten.splice(0, written)
    } catch (error) {
      if (!this.#failing) this.#options.onFailure(error as Error)
      this.#failing = true
      return
    }
    if (this.#failing) this.#options.onRestored()
    this.#failing = false
  }
}
