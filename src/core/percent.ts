// Percent escapes looked through without losing the place: every decoded character knows where it stands in the raw text.

/** Escapes of escapes are decoded this often; origins decode once or twice. */
export const MAX_DECODE_ROUNDS = 4

/** `offsets[i]` is where character i of `text` begins in the raw text, one more for its end; null: `text` is the raw text. */
export interface Layer {
  readonly text: string
  readonly offsets: readonly number[] | null
}

/** One round, a byte to a character (Latin-1); null when nothing was escaped. `rawLength` is the length of the raw text. */
export function decodeLayer(layer: Layer, rawLength: number): Layer | null {
  const { text } = layer
  let percent = text.indexOf('%')
  if (percent < 0) return null
  let decoded = ''
  let from = 0
  const offsets: number[] = []
  const keep = (end: number): void => {
    decoded += text.slice(from, end)
    for (; from < end; from++) offsets.push(layer.offsets?.[from] ?? from)
  }
  for (; percent >= 0; percent = text.indexOf('%', Math.max(from, percent + 1))) {
    const byte = hexByte(text, percent + 1)
    if (byte < 0) continue
    keep(percent)
    decoded += String.fromCharCode(byte)
    offsets.push(layer.offsets?.[percent] ?? percent)
    from = percent + 3
  }
  if (from === 0) return null
  keep(text.length)
  offsets.push(rawLength)
  return { text: decoded, offsets }
}

function hexByte(text: string, at: number): number {
  const digits = text.slice(at, at + 2)
  return /^[0-9A-Fa-f]{2}$/.test(digits) ? Number.parseInt(digits, 16) : -1
}

/** Every round at once, for a value on its own. */
export function decodeFully(value: string): string {
  let layer: Layer = { text: value, offsets: null }
  for (let round = 0; round < MAX_DECODE_ROUNDS; round++) layer = decodeLayer(layer, value.length) ?? layer
  return layer.text
}
