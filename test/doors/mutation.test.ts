// Mutated requests, however they are cut into segments: what reaches the origin has one reading, and it is the one that was judged.

import { setImmediate as turn } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type H11Reader, type H11Reading, h11Available, startH11 } from '../attack/support/h11-reader.ts'
import { type Mutated, mutatedRequests } from '../attack/support/mutated-requests.ts'
import { RequestReader } from '../attack/support/request-reader.ts'
import { called, essence, type Sent, type SmugglingBed, startSmugglingBed, WAYS } from '../attack/support/smuggling.ts'
import type { DecisionLine } from '../../src/proxy/decision-line.ts'

/** Over all ways in. */
const CASES = Number(process.env['MCP_EGRESS_TEST_MUTATIONS'] ?? 600)
const SEED = Number(process.env['MCP_EGRESS_TEST_SEED'] ?? Date.now() % 2 ** 31)
/** A client under TLS can not say that it has said all (`close_notify` is a farewell): the bytes within are the same. */
const PLAIN = WAYS.filter(({ tls }) => !tls)
const MS_PER_CASE = 300
/** The bytes that a closed connection left in the kernel are read by then: all ends are in this process. */
const SETTLING_TURNS = 4

interface Outcome {
  readonly decisions: readonly DecisionLine[]
  /** What the origin got, by connection. */
  readonly received: readonly Buffer[]
}

describe.each(PLAIN.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  let h11: H11Reader | null = null
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
    h11 = h11Available() ? startH11() : null
  })
  afterAll(async () => {
    await h11?.close()
    await bed.close()
  })

  const runs = Math.ceil(CASES / PLAIN.length)
  it(`${runs} streams of requests (seed ${SEED})`, { timeout: 20_000 + runs * MS_PER_CASE }, async () => {
    const tally = { forwarded: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(mutatedRequests(bed.spelling), async (mutated) => {
        const { decisions, received } = await sameHoweverCut(mutated)
        const sent = await agreedReading(received)
        await judgedAsSent(mutated, decisions, sent)
        tally.forwarded += sent.length
        tally.refused += decisions.filter(({ decision }) => decision === 'deny').length
      }),
      { numRuns: runs, seed: SEED },
    )
    // Mutants that were all refused, or none of them, would prove nothing.
    expect(tally.forwarded).toBeGreaterThan(runs / 4)
    expect(tally.refused).toBeGreaterThan(runs / 4)
  })

  /** Sends it, and says that the client has said all it wanted. */
  async function play(text: string, cuts: readonly number[]): Promise<Outcome> {
    const { canary, lab, open } = bed
    const before = lab.decisions.length
    canary.take()
    const wire = await open()
    let from = 0
    for (const cut of [...cuts, text.length]) {
      if (cut > from) wire.write(text.slice(from, cut))
      from = cut
      await turn()
    }
    wire.socket.end()
    await wire.closed()
    for (let turns = 0; turns < SETTLING_TURNS; turns++) await turn()
    return { decisions: lab.decisions.slice(before), received: canary.take().map((part) => part.bytes) }
  }

  /** In one segment and in several: the same decisions on the same requests. */
  async function sameHoweverCut({ text, cuts }: Mutated): Promise<Outcome> {
    for (let left = 3; ; left--) {
      const whole = await play(text, [])
      const parts = await play(text, cuts)
      const [shorter, longer] = parts.decisions.length < whole.decisions.length ? [parts, whole] : [whole, parts]
      const told = toldBy(shorter)
      const wanted = toldBy(longer, shorter)
      // A loop that stalls cuts off a client that has half-closed: once is no finding.
      if (JSON.stringify(told) !== JSON.stringify(wanted) && left > 0) continue
      expect(told).toEqual(wanted)
      return parts
    }
  }

  /** What the origin was sent, as two readers that are not ours read it; they agree, and nothing in it is wrong for either. */
  async function agreedReading(received: readonly Buffer[]): Promise<Sent[]> {
    const sent: Sent[] = []
    for (const bytes of received) {
      const reader = new RequestReader().push(bytes)
      const requests = reader.requests.map(essence)
      expect(reader.requests.flatMap(({ trailers }) => trailers)).toEqual([])
      expect(reader.error, `Node refuses ${JSON.stringify(bytes.toString('latin1'))}`).toBeNull()
      const second = await h11?.read(bytes)
      expect(second ?? { requests, error: null }).toEqual({
        requests,
        error: second !== undefined && reader.unfinished ? 'unfinished' : null,
      })
      sent.push(...requests)
    }
    return sent
  }

  /** Every request that reached the origin was decided on, is among the client's bytes for the others too, and means the same there. */
  async function judgedAsSent(
    { text, intact }: Mutated,
    decisions: readonly DecisionLine[],
    sent: readonly Sent[],
  ): Promise<void> {
    // Bytes that are no request have no method, and nothing is read behind them.
    const heads = decisions.filter(({ method }) => method !== null)
    const allowed = heads.flatMap(({ decision }, index) => (decision === 'allow' ? [index] : []))
    expect(sent.length, 'requests that nobody allowed').toBeLessThanOrEqual(allowed.length)
    const bytes = Buffer.from(text, 'latin1')
    const node = new RequestReader().push(bytes)
    const readings: H11Reading[] = [{ requests: node.requests.map(essence), error: node.error }]
    if (h11 !== null) readings.push(await h11.read(bytes))
    for (const { requests, error } of readings) {
      // Where a reader stops at a request line that is denied here, it knows nothing of what is behind it.
      const stopped = OTHER_REQUEST_LINE.has(error ?? '') && heads[requests.length]?.decision === 'deny'
      const compared = stopped ? allowed.filter((index) => index < requests.length) : allowed
      const expected = compared.slice(0, sent.length).map((index) => forwardedForm(requests[index]))
      expect(sent.slice(0, compared.length)).toEqual(expected)
      // A client that sends what is valid gets all of it through.
      expect(intact ? sent : requests.map(forwardedForm)).toEqual(requests.map(forwardedForm))
    }
  }
})

/** Node knows the registered methods alone, and refuses some targets in its parser that are refused here when they are judged. */
const OTHER_REQUEST_LINE: ReadonlySet<string> = new Set(['HPE_INVALID_METHOD', 'HPE_INVALID_URL'])

/**
 * What was decided, and what the origin got. Whether a denied request is the last one of its connection depends on how much of its body
 * was there when it was denied: what is behind it is then left out.
 */
function toldBy({ decisions, received }: Outcome, shorter: Outcome | null = null): unknown {
  const ended = shorter !== null && shorter.decisions.at(-1)?.decision === 'deny'
  const sent = received.flatMap(readByNode)
  return [
    decisions
      .slice(0, ended ? shorter.decisions.length : undefined)
      .map(({ decision, reason, method }) => [decision, reason, method]),
    ended ? sent.slice(0, shorter.received.flatMap(readByNode).length) : sent,
  ]
}

function readByNode(bytes: Buffer): Sent[] {
  return new RequestReader().push(bytes).requests.map(essence)
}

/** An origin gets the path of an absolute URL alone (RFC 9112 §3.2.1). */
function forwardedForm(request: Sent | undefined): Sent | undefined {
  if (request === undefined) return undefined
  const target = request.target.replace(/^http:\/\/[^/?]*/i, '')
  return { ...request, target: target.startsWith('/') ? target : `/${target}` }
}
