// Follows the chain of a trail line by line, from file to file, up to the first line that is not as it was written.

import { hash } from 'node:crypto'
import { MAX_RECORD_BYTES } from '../core/record.ts'
import { GENESIS } from './chain.ts'
import { Attempts, type AttemptFault } from './verify-attempts.ts'
import type { Block } from './verify-blocks.ts'
import { Checkpoints, type CheckpointFault, type CheckpointRules } from './verify-checkpoints.ts'
import { type Break, diagnose, LOOKAHEAD } from './verify-diagnosis.ts'
import {
  endOfName,
  eventAt,
  type Head,
  inspectLine,
  isPrintable,
  LINK_LENGTH,
  policyBehind,
  RECORD_START,
  requestIdAt,
  SEAL_LENGTH,
  SEQ_KEY,
  TIMESTAMP_KEY,
  TIMESTAMP_LENGTH,
} from './verify-line.ts'
import type { Fault, Place } from './verify-report.ts'

/** `instance`: the only one whose records may stand there; null: whichever begins. */
export interface ChainRules extends CheckpointRules {
  readonly instance: string | null
  /** The trail must begin with its first record. */
  readonly complete: boolean
}

const NEWLINE = 0x0a

export class Chain {
  readonly checkpoints: Checkpoints
  fault: Fault | null = null
  records = 0
  torn = 0
  first: Head | null = null
  /** What the next record must be numbered, and stand on. */
  next = 0
  previous: string = GENESIS
  /** Of the last record. */
  lastTime: string | null = null
  attempts: Attempts = new Attempts(null)
  uncovered = 0
  readonly #rules: ChainRules
  #instance: string | null
  /** A line's bytes up to the number. */
  #start: string | null = null
  #file = ''
  #line = 0
  #atFileStart = true
  /** Of the last record. */
  #lastPlace: Place = { file: '', line: 0, offset: 0 }
  #lastPrevHash: string = GENESIS
  /** Where the timestamp of the last record stands in the present block; -1: in none. */
  #time = -1
  #torn: Place | null = null
  #broken: Break | null = null
  #following: Head[] = []

  constructor(rules: ChainRules) {
    this.#rules = rules
    this.#instance = rules.instance
    this.checkpoints = new Checkpoints(rules)
  }

  get instance(): string | null {
    return this.first === null ? null : this.#instance
  }

  file(path: string): void {
    this.#file = path
    this.#line = 0
    this.#atFileStart = true
  }

  take({ bytes, offset }: Block): void {
    const printable = isPrintable(bytes)
    for (let start = 0; start < bytes.length && this.fault === null; ) {
      const newline = bytes.indexOf(NEWLINE, start)
      const end = newline < 0 ? bytes.length : newline
      this.#line++
      if (this.#broken !== null) this.#lookAhead(bytes.subarray(start, end), offset + start)
      else if (!printable || !this.#follows(bytes, start, end, offset))
        this.#stumble(bytes.subarray(start, end), offset + start)
      start = end + 1
    }
    this.#keepTime(bytes)
  }

  #keepTime(bytes: Buffer): void {
    if (this.#time >= 0) this.lastTime = bytes.toString('latin1', this.#time, this.#time + TIMESTAMP_LENGTH)
    this.#time = -1
  }

  /** The archive that is being read ends in damage. */
  damaged(why: string): void {
    this.#conclude()
    const place = { ...this.#lastPlace, file: this.#file, line: this.#line }
    this.fault ??= this.#fault('damaged_archive', `the archive can not be unpacked behind this line: ${why}`, place)
  }

  finish(): void {
    this.#conclude()
    const kept = this.checkpoints.cutOff(this.first === null ? null : this.next - 1)
    if (kept !== null) this.fault ??= this.#fault(kept.reason, kept.message, this.#lastPlace, kept.seq)
    if (this.fault === null && this.#torn !== null) this.torn++
  }

  /** The whole of what costs time: a line that is what the chain expects. */
  #follows(bytes: Buffer, start: number, end: number, offset: number): boolean {
    if (this.#start === null || end - start >= MAX_RECORD_BYTES) return false
    const expected = `${this.#start}${this.next}${TIMESTAMP_KEY}`
    const time = start + expected.length
    const bodyEnd = end - SEAL_LENGTH
    if (time >= bodyEnd || bytes.toString('latin1', start, time) !== expected) return false
    const own = hash('sha256', bytes.subarray(start, bodyEnd), 'hex')
    if (bytes.toString('latin1', bodyEnd - LINK_LENGTH, end) !== `,"prev_hash":"${this.previous}","hash":"${own}"}`)
      return false
    const event = eventAt(bytes, time)
    const nameEnd = event < 0 ? -1 : endOfName(bytes, event)
    if (nameEnd < 0) return false
    const name = bytes.toString('latin1', event, nameEnd)
    if (this.#torn !== null && !this.#isRestart(name, bytes.toString('latin1', start, end))) return false
    const place = { file: this.#file, line: this.#line, offset: offset + start }
    this.#accept(bytes, start, end, nameEnd + 1, name, own, place)
    this.#time = time
    return true
  }

  #accept(bytes: Buffer, start: number, end: number, members: number, event: string, own: string, place: Place): void {
    const fault = this.#judge(bytes, start, end, members, event, place) ?? this.#compareKept(own)
    if (fault !== null) {
      const { seq, place: at } = fault as AttemptFault
      this.fault = this.#fault(fault.reason, fault.message, at ?? place, seq ?? this.next)
      return
    }
    this.#lastPlace = place
    this.#lastPrevHash = this.previous
    this.previous = own
    this.next++
    this.records++
    this.#atFileStart = false
  }

  /** `members`: where those of the event begin. */
  #judge(
    bytes: Buffer,
    start: number,
    end: number,
    members: number,
    event: string,
    place: Place,
  ): AttemptFault | CheckpointFault | null {
    this.uncovered++
    const { attempts, checkpoints } = this
    switch (event) {
      case 'request.decided': {
        const policy = attempts.decidedBy(policyBehind(bytes, members))
        return policy ?? attempts.decided(requestIdAt(bytes, members), this.next, place) ?? this.#cover()
      }
      case 'request.completed':
        return attempts.ended(requestIdAt(bytes, members)) ?? this.#cover()
      case 'dns.question':
        return attempts.decidedBy(policyBehind(bytes, members)) ?? this.#cover()
      case 'proxy.started':
      case 'config.loaded':
        attempts.loaded(policyBehind(bytes, members))
        return event === 'proxy.started' ? attempts.started() : null
      case 'proxy.stopped':
        return attempts.stopped()
      case 'audit.restored':
        attempts.outage()
        return null
      case 'checkpoint': {
        const before = checkpoints.lastSeq
        const fault = checkpoints.check(
          bytes.toString('latin1', start, end),
          this.#instance ?? '',
          this.next,
          this.previous,
        )
        if (checkpoints.lastSeq !== before) this.uncovered = 0
        return fault
      }
      default:
        return this.#cover()
    }
  }

  #cover(): CheckpointFault | null {
    return this.checkpoints.uncovered(this.uncovered)
  }

  #compareKept(own: string): CheckpointFault | null {
    return this.next === this.checkpoints.nextKept ? this.checkpoints.compare(own) : null
  }

  /** A line that is not simply the next one: the first, one broken off by a crash, or the place where the chain breaks. */
  #stumble(bytes: Buffer, offset: number): void {
    const place = { file: this.#file, line: this.#line, offset }
    const line = inspectLine(bytes, place)
    if (line.kind === 'torn') {
      this.#torn ??= place
      return
    }
    if (line.kind === 'record' && line.head.valid) {
      if (this.first === null && !this.#begin(line.head)) return
      // Its block may hold bytes that are not printable; the line itself does not.
      const follows = this.#follows(bytes, 0, bytes.length, offset)
      this.#keepTime(bytes)
      if (follows) return
    }
    const { next: seq, previous: prevHash } = this
    const before = this.records === 0 ? null : { place: this.#lastPlace, prevHash: this.#lastPrevHash }
    // SECURITY: a broken-off line counts only where a restart follows, or anything could be hidden behind the look of one.
    const torn = this.#torn === null ? null : ({ line: { kind: 'torn' }, place: this.#torn } as const)
    this.#broken = {
      line,
      place,
      ...torn,
      instance: this.#instance,
      seq,
      prevHash,
      before,
      atFileStart: this.#atFileStart,
    }
  }

  /** The record that a trail begins with, whatever its number: those before it may be pruned, but only file by file. */
  #begin(head: Head): boolean {
    const { instance, complete } = this.#rules
    const fault = (reason: Fault['reason'], message: string): false => {
      this.fault = { reason, seq: reason === 'spliced' ? head.seq : 0, ...head.place, message }
      return false
    }
    if (instance !== null && head.instance !== instance)
      return fault('spliced', `the record is of trail ${head.instance}, not of ${instance}`)
    if (head.seq === 0 && head.prevHash !== GENESIS)
      return fault('edited', 'the first record does not begin a chain: its prev_hash must be 64 zeros')
    if (head.seq > 0 && head.event !== 'segment.opened')
      return fault(
        'removed',
        `the file begins with record ${head.seq} in the middle of a segment: those before it are missing`,
      )
    if (head.seq > 0 && complete)
      return fault('incomplete', `the trail begins with record ${head.seq}: those before it are not here`)
    const other = this.#rules.kept.find((kept) => kept.instance !== head.instance)
    if (other !== undefined) {
      const { file, line } = other.place
      return fault(
        'spliced',
        `this is trail ${head.instance}; the checkpoint in ${file}, line ${line}, is of ${other.instance}`,
      )
    }
    this.first = head
    this.#instance = head.instance
    this.#start = `${RECORD_START}${head.instance}${SEQ_KEY}`
    this.next = head.seq
    this.previous = head.prevHash
    this.attempts = new Attempts(head.seq === 0 ? null : Date.parse(head.timestamp))
    this.checkpoints.begin(head.seq)
    return true
  }

  #isRestart(event: string, line: string): boolean {
    const restart =
      event === 'proxy.started' ||
      event === 'segment.opened' ||
      event === 'audit.restored' ||
      // The ends of what a crash left open: nobody measured them.
      line.includes(',"duration_ms":null')
    if (!restart) return false
    this.#torn = null
    this.torn++
    return true
  }

  #lookAhead(bytes: Buffer, offset: number): void {
    const line = inspectLine(bytes, { file: this.#file, line: this.#line, offset })
    if (line.kind === 'record') this.#following.push(line.head)
    if (this.#following.length >= LOOKAHEAD) this.#conclude()
  }

  #conclude(): void {
    if (this.#broken === null || this.fault !== null) return
    this.fault = diagnose(this.#broken, this.#following)
  }

  #fault(reason: Fault['reason'], message: string, place: Place = this.#lastPlace, seq: number = this.next): Fault {
    return { reason, seq, ...place, message }
  }
}
