// Whether a series of samples grows: the straight line through its second half.

/** Growth over the second half below this share of its middle is none: a collection more or less moves that much. */
const FLAT = 0.05

/**
 * Least squares. Throws where the points say nothing about a slope.
 * @param {readonly { x: number, y: number }[]} points
 */
function linearFit(points) {
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / points.length
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / points.length
  const variance = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0)
  if (!(variance > 0)) throw new Error('a line needs two different places')
  const covariance = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0)
  const slope = covariance / variance
  return { slope, intercept: meanY - slope * meanX }
}

/**
 * `growth`: what the line of the second half rises by from its first sample to its last, in the unit of `y`.
 * @param {readonly { x: number, y: number }[]} samples In order.
 */
export function trendOf(samples) {
  const half = samples.slice(samples.length >> 1)
  const { slope, intercept } = linearFit(half)
  const [first, last] = [half[0].x, half.at(-1).x]
  const growth = slope * (last - first)
  const level = intercept + slope * ((first + last) / 2)
  return { slope, growth, flat: growth < level * FLAT }
}
