// The known names that a misspelt one is nearest to.

const MAX_NEAREST = 3
/** Of the pairs of letters in both names together, how many they must have in common. */
const LEAST_LIKENESS = 0.5
/** What is less like the name than the best by this much is not what was meant. */
const FAR_BEHIND = 0.2

/** At most three, the most alike first; time is linear in the length of all of `known`. */
export function nearest(written: string, known: Iterable<string>): readonly string[] {
  const wanted = pairsOf(written)
  const found: { readonly name: string; readonly likeness: number }[] = []
  for (const name of known) {
    const likeness = alike(wanted, name)
    if (likeness < LEAST_LIKENESS) continue
    found.push({ name, likeness })
    found.sort((a, b) => b.likeness - a.likeness)
    found.length = Math.min(found.length, MAX_NEAREST)
  }
  const [best] = found
  return found.flatMap(({ name, likeness }) => (likeness + FAR_BEHIND < (best?.likeness ?? 0) ? [] : [name]))
}

/** Sørensen–Dice on pairs of letters, whatever their case: words that changed places cost little. */
function alike(wanted: ReadonlyMap<string, number>, name: string): number {
  const own = pairsOf(name)
  let common = 0
  for (const [pair, count] of own) common += Math.min(count, wanted.get(pair) ?? 0)
  const total = sum(wanted) + sum(own)
  return total === 0 ? 0 : (2 * common) / total
}

function pairsOf(text: string): ReadonlyMap<string, number> {
  const pairs = new Map<string, number>()
  const folded = text.toLowerCase()
  for (let at = 0; at + 1 < folded.length; at += 1) {
    const pair = folded.slice(at, at + 2)
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1)
  }
  return pairs
}

function sum(counts: ReadonlyMap<string, number>): number {
  let total = 0
  for (const count of counts.values()) total += count
  return total
}
