// Names that fall into one bucket of a hash table: as many of any other names cost the same.
//
// V8 does not mix its seed into the hash of a string that is an array index (CVE-2026-21717), so those are what an attacker can choose.

import { afterEach, describe, expect, it } from 'vitest'
import { readJson } from '../../src/core/json-strict.ts'
import { readUntil } from '../support/clients.ts'
import { type LoadBed, report, startLoadBed } from './support/load-bed.ts'

/** As many as fit into the inspection limit of 1 MiB. */
const MEMBERS = 65_535
/** Multiples of it share the low bits that choose a bucket in a table of this size. */
const STRIDE = 65_536
/** Where they collide each is compared with all before it: thousands of times the cost. */
const TIMES_ALLOWED = 8
const TURN_ALLOWED_MS = 400

const colliding = Array.from({ length: MEMBERS }, (_, index) => String((index + 1) * STRIDE))
const ordinary = colliding.map((name) => `k${name.slice(1)}`)
const objectOf = (names: readonly string[]): string => `{${names.map((name) => `"${name}":1`).join(',')}}`

describe('[I09] 65,535 members of a JSON body', () => {
  it('are read in the time of any others', () => {
    const timed = (names: readonly string[]): number => {
      const body = Buffer.from(objectOf(names))
      const started = performance.now()
      expect(readJson(body).kind).toBe('ok')
      return performance.now() - started
    }
    // The first of each warms up; the best of three is what the names cost.
    const best = (names: readonly string[]): number => Math.min(...[0, 1, 2].map(() => timed(names)))
    const [usual, attacked] = [best([...new Set(ordinary)]), best(colliding)]
    report({ usual, attacked })
    expect(attacked).toBeLessThan(usual * TIMES_ALLOWED)
  })
})

describe('in a request', () => {
  let bed: LoadBed
  afterEach(() => bed?.close())

  it('[I09] as members, fields and parameters they hold up nobody', async () => {
    bed = await startLoadBed({
      rules: `  - id: inspected
    allow: { hosts: [localhost], schemes: [http], ports: [9] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
`,
    })
    await bed.servesOthers()
    await bed.lateness()
    const body = objectOf(colliding).slice(0, 1_048_576)
    const fields = colliding
      .slice(0, 190)
      .map((name) => `${name}: a\r\n`)
      .join('')
    const query = colliding
      .slice(0, 5_000)
      .map((name) => `${name}=a`)
      .join('&')
    const head = `POST http://localhost:9/x HTTP/1.1\r\nHost: localhost:9\r\nContent-Type: application/json\r\n`
    expect(await answered(`${head}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`)).toMatch(
      / 50[24] /,
    )
    expect(await answered(bed.request('/x', `${fields}Connection: close\r\n`))).toMatch(/ 200 /)
    expect(await answered(bed.request(`/x?${query}`, 'Connection: close\r\n'))).toMatch(/ 200 /)
    const { maxMs } = await bed.lateness()
    report({ maxMs })
    expect(maxMs).toBeLessThan(TURN_ALLOWED_MS)
    await bed.accounted()
  })

  async function answered(request: string): Promise<string> {
    const socket = await bed.open()
    const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
    socket.write(request)
    const head = await answer
    socket.destroy()
    return head
  }
})
