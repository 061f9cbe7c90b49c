// Decodes HPACK's Huffman code (RFC 7541 §5.2 and Appendix B), four bits at a step.

/** Symbol 256, 30 ones. Padding is a prefix of it, and it is never sent whole. */
const EOS = 256
const EOS_LENGTH = 30

/**
 * Bits of each symbol's code, RFC 7541 Appendix B. The code is canonical: sorted by length and then by symbol, each code is
 * the one before it plus one, widened with zeros. So the lengths say all of it.
 */
const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
]

/** Inner nodes of the code's tree: as many as its leaves less one. A state of the decoder is one of them. */
const STATES = 256
/** States 0 to 7 are the tree's root and the nodes of one to seven ones: where a string may end (§5.2). */
const LAST_FINAL_STATE = 7

/** A transition: the next state in the low byte, the symbol in the second, and whether there is a symbol. */
const EMITS = 0x1_0000
const FORBIDDEN = -1

/** By state and nibble. No code is shorter than five bits, so a nibble ends at most one. */
const TRANSITIONS: Int32Array = transitions(codeTree())

export const HUFFMAN_INVALID = -1
export const HUFFMAN_TOO_LONG = -2

/**
 * Decodes the octets from `start` up to `end` into `out` and answers how many octets came of it; or `HUFFMAN_INVALID` for EOS
 * in the string and for padding that is longer than seven bits or not all ones, `HUFFMAN_TOO_LONG` where `out` is too small.
 */
export function decodeHuffman(octets: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let state = 0
  let length = 0
  for (let at = start; at < end; at++) {
    const octet = octets[at] as number
    for (let shift = 4; shift >= 0; shift -= 4) {
      const transition = TRANSITIONS[(state << 4) | ((octet >> shift) & 0xf)] as number
      if (transition === FORBIDDEN) return HUFFMAN_INVALID
      if (transition >= EMITS) {
        if (length === out.length) return HUFFMAN_TOO_LONG
        out[length++] = (transition >> 8) & 0xff
      }
      state = transition & 0xff
    }
  }
  // SECURITY: padding that means nothing would give one string many spellings (§5.2).
  return state <= LAST_FINAL_STATE ? length : HUFFMAN_INVALID
}

/**
 * The tree as two children a node: an inner node's number, or a leaf as `STATES` + symbol. Built from the last code, which is
 * EOS, to the first: EOS's nodes so get the numbers 0 to 29 by their depth.
 */
function codeTree(): Int16Array {
  const children = new Int16Array(2 * STATES)
  const symbols = Array.from(CODE_LENGTHS.keys()).sort((a, b) => lengthOf(b) - lengthOf(a) || b - a)
  let nodes = 1
  let code = 2 ** EOS_LENGTH
  let length = EOS_LENGTH
  for (const symbol of symbols) {
    code = (code >> (length - lengthOf(symbol))) - 1
    length = lengthOf(symbol)
    let node = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const branch = 2 * node + ((code >> bit) & 1)
      if (children[branch] === 0) children[branch] = nodes++
      node = children[branch] as number
    }
    children[2 * node + (code & 1)] = STATES + symbol
  }
  return children
}

function lengthOf(symbol: number): number {
  return CODE_LENGTHS[symbol] as number
}

function transitions(children: Int16Array): Int32Array {
  const table = new Int32Array(STATES << 4)
  for (let entry = 0; entry < table.length; entry++) {
    let node = entry >> 4
    let emitted = 0
    for (let bit = 3; bit >= 0; bit--) {
      const child = children[2 * node + ((entry >> bit) & 1)] as number
      if (child >= STATES) emitted = child === STATES + EOS ? FORBIDDEN : EMITS | ((child - STATES) << 8)
      node = child >= STATES ? 0 : child
    }
    table[entry] = emitted === FORBIDDEN ? FORBIDDEN : emitted | node
  }
  return table
}
