// What the scripts that read a trail print, as rows of a table.

/** `| plain | 332184 ± 7 % | …` of audit-verify.mjs and `query --newest  0.12 s  812345 records/s` of audit-query.mjs. */
const FORMATS = {
  'audit-verify': { line: /^\| (\w+) +\| +(\d+) ±.*$/, label: (what) => `verify, ${what}` },
  'audit-query': { line: /^(.+?) +[\d.]+ s +(\d+) records\/s ?(.*)$/, label: (what) => what },
}

/** The scripts, without their ending. */
export const READERS = Object.keys(FORMATS)

/** Rows of what the script printed; one that failed, or printed nothing of the kind, has a row that says why. */
export function readingRows(name, { stdout, stderr, status }) {
  const { line, label } = FORMATS[name]
  const found = stdout.split('\n').flatMap((text) => {
    const [, what, rate, failure = ''] = line.exec(text) ?? []
    if (what === undefined) return []
    if (failure !== '') return [{ name: what, label: label(what), cells: {}, remark: failure }]
    return [{ name: what, label: label(what), cells: { rate: Number(rate) } }]
  })
  if (status === 0 && found.length > 0) return found
  const why = status === 0 ? 'it printed no figures' : `it ended with ${status}: ${stderr.slice(-300)}`
  return [...found, { name, label: name, cells: {}, remark: why }]
}
