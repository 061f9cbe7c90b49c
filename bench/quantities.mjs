// Numbers of several rounds: their middle, how far they lie apart, and how they are written.

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Half the distance between the extremes, in percent of the median; 0 for a median of 0. */
export function spread(values) {
  const middle = median(values)
  return middle === 0 ? 0 : ((Math.max(...values) - Math.min(...values)) / 2 / middle) * 100
}

/**
 * What a cell of a table holds: `{ median, spread, rounds }`, every round kept; null when no round gave a number.
 * @param {readonly (number | null | undefined)[]} rounds
 */
export function quantity(rounds) {
  const values = rounds.filter((value) => Number.isFinite(value))
  return values.length === 0 ? null : { median: median(values), spread: spread(values), rounds: values }
}

/** `12,832 ± 2 %`; one round alone has no spread to show. */
export function written({ median: value, spread: percent, rounds }, digits = 0) {
  const figure = value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return rounds.length > 1 ? `${figure} ± ${percent.toFixed(0)} %` : figure
}
