// What the guard says of the counts: each against the reference of the same run, and that against what was accepted.

/** More than this share over the baseline is a regression. */
const TOLERANCE = 0.15
const REFERENCE = 'reference'
const ACCEPT = 'node bench/guard/run.mjs --accept'

/**
 * How many references one of each costs. Dividing takes out most of what another processor, another patch of Node or another
 * allocator changes.
 * @param {ReadonlyMap<string, number>} counts Instructions of one of each, that of the reference among them.
 * @returns {Record<string, number>}
 */
export function ratios(counts) {
  const reference = counts.get(REFERENCE)
  if (reference === undefined) throw new Error('the reference was not counted')
  const others = [...counts].filter(([name]) => name !== REFERENCE)
  return Object.fromEntries(others.map(([name, count]) => [name, Number((count / reference).toPrecision(4))]))
}

/**
 * `grew`, `shrank`: by more than the tolerance. `unknown`: counted and never accepted, or accepted and no longer counted: a guard that
 * lost a figure must not go on in silence. `unaccepted`: there is no baseline for this engine at all.
 * @typedef {'same' | 'grew' | 'shrank' | 'unknown' | 'unaccepted'} Verdict
 * @param {Record<string, number>} now
 * @param {Record<string, number> | null} accepted
 * @returns {{ name: string, now: number | null, accepted: number | null, verdict: Verdict }[]}
 */
export function compare(now, accepted) {
  const names = new Set([...Object.keys(now), ...Object.keys(accepted ?? {})])
  return Array.from(names, (name) => {
    const [measured, before] = [now[name] ?? null, accepted?.[name] ?? null]
    return {
      name,
      now: measured,
      accepted: before,
      verdict: accepted === null ? 'unaccepted' : judge(measured, before),
    }
  })
}

function judge(now, accepted) {
  if (now === null || accepted === null) return 'unknown'
  if (now > accepted * (1 + TOLERANCE)) return 'grew'
  return now < accepted * (1 - TOLERANCE) ? 'shrank' : 'same'
}

const percent = ({ now, accepted }) => `${now >= accepted ? '+' : ''}${((now / accepted - 1) * 100).toFixed(1)} %`

function line(one, counts) {
  const change = one.now === null || one.accepted === null ? '-' : percent(one)
  const instructions = counts.get(one.name)
  const count = instructions === undefined ? '-' : Math.round(instructions).toLocaleString('en-US')
  return `${one.name.padEnd(20)} ${count.padStart(12)} ${String(one.now ?? '-').padStart(9)} ${String(one.accepted ?? '-').padStart(9)} ${change.padStart(9)}`
}

/** One table, and a line for everything that somebody has to do something about. */
export function report(counts, compared, engine) {
  const header = `${'instructions of one'.padEnd(20)} ${'count'.padStart(12)} ${'ratio'.padStart(9)} ${'accepted'.padStart(9)} ${'change'.padStart(9)}`
  const of = (verdict) => compared.filter((one) => one.verdict === verdict)
  const limit = `${TOLERANCE * 100} %`
  const remarks = [
    ...of('grew').map(
      (one) =>
        `guard: FAILED: ${one.name} takes ${percent(one)} instructions, over the ${limit} allowed. Find what it does more; if that is meant to be, ${ACCEPT}`,
    ),
    ...of('unknown').map(
      ({ name, now }) =>
        `guard: FAILED: ${name} ${now === null ? 'was accepted and is no longer counted' : 'was never accepted'}: ${ACCEPT}`,
    ),
    ...of('shrank').map((one) => `guard: ${one.name} takes ${percent(one)} instructions: keep the gain by ${ACCEPT}`),
    ...(of('unaccepted').length > 0 ? [`guard: reported only: no baseline for ${engine}: ${ACCEPT}`] : []),
  ]
  return [header, ...compared.map((one) => line(one, counts)), ...remarks, ''].join('\n')
}
