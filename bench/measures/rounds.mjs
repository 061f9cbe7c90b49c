// Rounds that take turns (A B C … A B C …), so that what else the machine does falls on all alike; what they gave becomes rows.
import { quantity } from '../quantities.mjs'

const KEPT = 300

/**
 * @typedef {{ name: string, label: string, why?: string }} Subject
 * @typedef {{ name: string, label: string, cells: Record<string, object | null>, remark?: string }} Row
 */

/**
 * One row a subject. `measureOne` gives the figures of one round as a flat object, `remark` in it if there is something to say. A subject that
 * throws has no further rounds, and its row says why; `why` in a subject says that from the start.
 * @template {Subject} S
 * @param {readonly S[]} subjects
 * @param {{ rounds: number, report: (line: string) => void }} options
 * @param {(subject: S, round: number) => Promise<Record<string, number | string | null>>} measureOne
 * @returns {Promise<Row[]>}
 */
export async function interleave(subjects, { rounds, report }, measureOne) {
  const given = subjects.map(({ why }) => ({ figures: [], remark: why ?? null, over: why !== undefined }))
  for (let round = 0; round < rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      const of = given[index]
      if (of.over) continue
      report(`round ${round + 1} of ${rounds}: ${subject.label}`)
      try {
        const { remark = null, ...figures } = await measureOne(subject, round)
        of.figures.push(figures)
        of.remark ??= remark
      } catch (error) {
        of.over = true
        of.remark = `round ${round + 1}: ${error.message.slice(0, KEPT)}`
        report(`${subject.label}: ${error.message}`)
      }
    }
  }
  return subjects.map(({ name, label }, index) => {
    const { figures, remark } = given[index]
    const keys = new Set(figures.flatMap((one) => Object.keys(one)))
    const cells = Object.fromEntries([...keys].map((key) => [key, quantity(figures.map((one) => one[key]))]))
    return { name, label, cells, ...(remark === null ? {} : { remark }) }
  })
}

/**
 * Whoever serves this door, and whoever would but is absent.
 * @param {Awaited<ReturnType<typeof import('../peers/index.mjs').startPeers>>} started
 * @param {(peer: import('../peers/index.mjs').Peer) => boolean} has
 */
export function subjectsOf({ running, absent }, has) {
  return [
    ...running
      .filter(({ peer }) => has(peer))
      .map((served) => ({ name: served.peer.name, label: served.peer.label, served })),
    ...absent.filter(({ peer }) => has(peer)).map(({ peer, why }) => ({ name: peer.name, label: peer.label, why })),
  ]
}

/** What the reader of a row has to know about its errors, null if there were none. */
export function errorsOf({ errors, first_error: first }) {
  return errors > 0 ? `${errors} errors${first === undefined ? '' : ` (${first})`}` : null
}
