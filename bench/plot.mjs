// Curves over a logarithmic axis as an SVG that reads in light and dark, for documents.

const PANEL = { width: 330, height: 240, gap: 56, left: 52, top: 74 }
const LEGEND_WIDTH = 150
const BELOW = 62
/** Blue, orange, green, purple, grey: told apart by people who see no red or green, and by their marks. */
const COLOURS = ['#0969da', '#bc4c00', '#1a7f37', '#8250df', '#6e7781']
const DARK_COLOURS = ['#4493f8', '#f0883e', '#3fb950', '#ab7df8', '#9198a1']
const MARKS = ['circle', 'square', 'diamond', 'triangle', 'ring']

const classes = (colours) => colours.map((colour, at) => `.c${at} { stroke: ${colour}; fill: ${colour} }`).join(' ')
const STYLE = `text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px } .small { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 } .line { fill: none !important; stroke-width: 2 } .wanted { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 } .ring { fill: none !important; stroke-width: 2 }
${classes(COLOURS)}
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .wanted { stroke: #f85149 } ${classes(DARK_COLOURS)} }`

const escape = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
const at = (number) => number.toFixed(1)

/** The powers of ten from below the least to above the greatest value. */
export function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
  return Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step))
}

/** From a value to its place between two pixels, by its logarithm. */
export function logScale(ticks, from, to) {
  const [low, high] = [Math.log10(ticks[0]), Math.log10(ticks.at(-1))]
  return (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from)
}

const written = (value) => (value < 1 ? String(value) : value.toLocaleString('en-US'))

function mark(kind, x, y, colour) {
  const shapes = {
    circle: `<circle class="${colour}" cx="${at(x)}" cy="${at(y)}" r="3.5"/>`,
    square: `<rect class="${colour}" x="${at(x - 3)}" y="${at(y - 3)}" width="6" height="6"/>`,
    diamond: `<path class="${colour}" d="M${at(x)} ${at(y - 4.5)} l4.5 4.5 l-4.5 4.5 l-4.5 -4.5 z"/>`,
    triangle: `<path class="${colour}" d="M${at(x)} ${at(y - 4)} l4 7 h-8 z"/>`,
    ring: `<circle class="${colour} ring" cx="${at(x)}" cy="${at(y)}" r="3.5"/>`,
  }
  return shapes[kind]
}

function curve({ points }, index, placeX, placeY) {
  const colour = `c${index % COLOURS.length}`
  const path = points.map(({ x, y }, step) => `${step === 0 ? 'M' : 'L'}${at(placeX(x))} ${at(placeY(y))}`).join(' ')
  const marks = points.map(({ x, y }) => mark(MARKS[index % MARKS.length], placeX(x), placeY(y), colour))
  return [`<path class="${colour} line" d="${path}"/>`, ...marks].join('\n')
}

function panel({ title, curves }, left, { xTicks, yTicks, xTitle, wanted }) {
  const right = left + PANEL.width
  const bottom = PANEL.top + PANEL.height
  const placeX = logScale(xTicks, left, right)
  const placeY = logScale(yTicks, bottom, PANEL.top)
  const rows = yTicks.map((value) => {
    const y = at(placeY(value))
    return `<path class="grid" d="M${left} ${y} H${right}"/><text class="small" x="${left - 8}" y="${at(placeY(value) + 4)}" text-anchor="end">${written(value)}</text>`
  })
  const columns = xTicks.map((value) => {
    const x = at(placeX(value))
    return `<path class="grid" d="M${x} ${PANEL.top} V${bottom}"/><text class="small" x="${x}" y="${bottom + 18}" text-anchor="middle">${written(value)}</text>`
  })
  const limits = wanted.map(({ x, y }) => `<path class="wanted" d="M${at(placeX(x) - 16)} ${at(placeY(y))} h32"/>`)
  return [
    `<text x="${left}" y="${PANEL.top - 12}">${escape(title)}</text>`,
    ...rows,
    ...columns,
    `<text class="small" x="${right}" y="${bottom + 34}" text-anchor="end">${escape(xTitle)}</text>`,
    ...curves.map((one, index) => curve(one, index, placeX, placeY)),
    ...limits,
  ].join('\n')
}

function legend(curves, left) {
  return curves
    .map(({ label }, index) => {
      const y = PANEL.top + 14 + index * 22
      return `${mark(MARKS[index % MARKS.length], left, y, `c${index % COLOURS.length}`)}<text x="${left + 12}" y="${y + 4}">${escape(label)}</text>`
    })
    .join('\n')
}

/**
 * @typedef {{ x: number, y: number }} Point Both over 0.
 * @typedef {{ label: string, points: Point[] }} Curve
 * @param {{ title: string, note: string, xTitle: string, panels: { title: string, curves: Curve[] }[], wanted: Point[] }} given `panels` have the
 *   same curves and share their axes; `wanted`: what the curves should stay below, drawn as dashes.
 */
export function plot({ title, note, xTitle, panels, wanted }) {
  const points = [...panels.flatMap(({ curves }) => curves.flatMap((one) => one.points)), ...wanted]
  const axes = {
    xTicks: decades(points.map(({ x }) => x)),
    yTicks: decades(points.map(({ y }) => y)),
    xTitle,
    wanted,
  }
  const placed = panels.map((one, index) => panel(one, PANEL.left + index * (PANEL.width + PANEL.gap), axes))
  const legendLeft = PANEL.left + panels.length * (PANEL.width + PANEL.gap) - PANEL.gap + 24
  const width = legendLeft + LEGEND_WIDTH
  const height = PANEL.top + PANEL.height + BELOW
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title)}">
<style>${STYLE}</style>
<text class="title" x="16" y="24">${escape(title)}</text>
<text class="small" x="16" y="42">${escape(note)}</text>
${placed.join('\n')}
${legend(panels[0].curves, legendLeft)}
<text class="small" x="${legendLeft}" y="${PANEL.top + 30 + panels[0].curves.length * 22}">dashes: at most</text>
</svg>
`
}
