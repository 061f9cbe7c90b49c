// What the measures found, for readers: tables in Markdown and one picture.
import { written } from './quantities.mjs'

/** Rows that the others are held against, and how the column calls them. */
const REFERENCES = { squid: '× Squid', nginx: '× nginx' }

/**
 * @typedef {{ key: string, title: string, digits?: number, ratio?: boolean }} Column
 * @typedef {{ key: string, title: string, note?: string, columns: Column[], rows: import('./measures/rounds.mjs').Row[] }} Table
 */

function cellText(cell, digits) {
  if (cell === null || cell === undefined) return '-'
  if (typeof cell === 'string') return cell
  return typeof cell === 'number' ? written({ median: cell, spread: 0, rounds: [cell] }, digits) : written(cell, digits)
}

const middle = (cell) => (typeof cell === 'number' ? cell : (cell?.median ?? null))

function ratio(row, reference, key) {
  const [own, other] = [middle(row.cells[key]), middle(reference.cells[key])]
  return own === null || other === null || other <= 0 ? '-' : (own / other).toFixed(2)
}

/** The columns as they are written, those of the ratios behind the one they belong to. */
function writtenColumns({ columns, rows }) {
  return columns.flatMap(({ key, title, digits, ratio: compared }) => {
    const own = { title, text: (row) => cellText(row.cells[key], digits) }
    if (!compared) return [own]
    const beside = Object.entries(REFERENCES).flatMap(([name, heading]) => {
      const reference = rows.find((row) => row.name === name && middle(row.cells[key]) !== null)
      return reference === undefined ? [] : [{ title: heading, text: (row) => ratio(row, reference, key) }]
    })
    return [own, ...beside]
  })
}

/** @param {Table} table */
export function markdown(table) {
  const columns = writtenColumns(table)
  const header = ['', ...columns.map(({ title }) => title)]
  const measured = table.rows.filter((row) => Object.keys(row.cells).length > 0)
  const rows = measured.map((row) => [row.label, ...columns.map(({ text }) => text(row))])
  const widths = header.map((title, column) => Math.max(title.length, 3, ...rows.map((row) => row[column].length)))
  const line = (cells) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  const remarks = table.rows
    .filter(({ remark }) => remark !== undefined)
    .map(({ label, remark }) => `- ${label}: ${remark}`)
  return [
    `### ${table.title}`,
    ...(table.note === undefined ? [] : [table.note]),
    [line(header), rule, ...rows.map(line)].join('\n'),
    ...(remarks.length === 0 ? [] : [remarks.join('\n')]),
  ].join('\n\n')
}

const escape = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

const BAR = { left: 210, width: 440, height: 22, gap: 8, top: 58 }
/** Bars longer than this many times Squid's are cut, and say their figure. */
const CUT_AT = 4
const STYLE = `text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px } .small { font-size: 11px; fill: #59636e }
.bar { fill: #8c959f } .own { fill: #0969da } .floor { fill: #c8ccd1 } .cut { fill: none; stroke: #ffffff; stroke-width: 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .bar { fill: #6e7681 } .own { fill: #4493f8 } .floor { fill: #3d444d } .cut { stroke: #0d1117 } }`

function bar({ label, name, value, spread }, index, scale, longest) {
  const y = BAR.top + index * (BAR.height + BAR.gap)
  const cut = value > longest
  const width = Math.max(1, Math.min(value, longest) * scale)
  const kind = name.startsWith('mcp-egress') ? 'own' : name === 'nginx' ? 'floor' : 'bar'
  const end = BAR.left + width
  const baseline = y + BAR.height / 2 + 4
  const broken = `<path class="cut" d="M${end - 24} ${y - 1} l6 ${BAR.height / 2 + 1} l-6 ${BAR.height / 2 + 1}"/>`
  const figure = `${written({ median: value, spread, rounds: [value] }, value < 100 ? 1 : 0)} ± ${spread.toFixed(0)} %`
  return [
    `<text x="${BAR.left - 10}" y="${baseline}" text-anchor="end">${escape(label)}</text>`,
    `<rect class="${kind}" x="${BAR.left}" y="${y}" width="${width.toFixed(1)}" height="${BAR.height}" rx="2"/>${cut ? broken : ''}`,
    `<text x="${(end + 8).toFixed(1)}" y="${baseline}">${figure}</text>`,
  ].join('\n')
}

/**
 * CPU time of a small request beside the peers, by the transparent door where they have one. Null without such figures.
 * @param {Table[]} tables Those of the measure keep-alive.
 * @param {string} machine
 */
export function picture(tables, machine) {
  const bars = new Map()
  for (const { key, rows } of tables.filter((table) => table.key !== 'h2')) {
    for (const { name, label, cells } of rows) {
      if (!cells.cpu || bars.has(name)) continue
      bars.set(name, {
        name,
        label: key === 'connect' ? `${label}, CONNECT` : label,
        value: cells.cpu.median,
        spread: cells.cpu.spread,
      })
    }
  }
  if (bars.size === 0) return null
  const sorted = [...bars.values()].sort((a, b) => a.value - b.value)
  const longest = Math.min(sorted.at(-1).value, (bars.get('squid')?.value ?? Infinity) * CUT_AT)
  const scale = BAR.width / longest
  const height = BAR.top + sorted.length * (BAR.height + BAR.gap) + 28
  const width = BAR.left + BAR.width + 130
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="CPU time of the proxy for a small request">
<style>${STYLE}</style>
<text class="title" x="16" y="24">CPU time of the proxy for a small request, µs (less is better)</text>
<text class="small" x="16" y="42">GET, 308 bytes back, 64 kept connections; transparent unless it says CONNECT. Cut bars are longer.</text>
${sorted.map((one, index) => bar(one, index, scale, longest)).join('\n')}
<text class="small" x="16" y="${height - 12}">${escape(machine)}</text>
</svg>
`
}
