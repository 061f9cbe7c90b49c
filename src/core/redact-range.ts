// Places in a text that hold secrets: gathered in any order, joined where they overlap, and replaced.

/** Half-open, in the coordinates of the raw text. `value`: the secret itself where it is known, so that its spelling does not count. */
export interface Range {
  readonly start: number
  readonly end: number
  readonly value?: string
}

/** Takes one place in the coordinates of the text that is looked at. */
export type Add = (start: number, end: number, value?: string) => void

/** Sorted and disjoint. What overlaps is one secret, and then none that is known. */
export function merge(ranges: Range[]): Range[] {
  if (ranges.length < 2) return ranges
  const merged: Range[] = []
  for (const range of ranges.sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = merged.at(-1)
    if (last === undefined || range.start >= last.end) merged.push(range)
    else merged[merged.length - 1] = joined(last, range)
  }
  return merged
}

function joined(last: Range, range: Range): Range {
  if (range.start === last.start && range.end === last.end) return last.value === undefined ? range : last
  return range.end <= last.end ? last : { start: last.start, end: range.end }
}

export function replace(text: string, ranges: readonly Range[], sealed: (value: string) => string): string {
  let out = ''
  let from = 0
  for (const { start, end, value } of ranges) {
    out += text.slice(from, start) + sealed(value ?? text.slice(start, end))
    from = end
  }
  return out + text.slice(from)
}
