// Python's hpack, as a second opinion on our HPACK: any number of connections in one run of the interpreter.

import { Buffer } from 'node:buffer'
import { spawnSync } from 'node:child_process'
import type { RawHeaders } from '../../src/core/http1.ts'

const PYTHON = '/usr/bin/python3'
const TIMEOUT_MS = 30_000

const SCRIPT = `
import json, sys, hpack

def encode(blocks):
    encoder = hpack.Encoder()
    for block in blocks:
        if block["tableBytes"] is not None:
            encoder.header_table_size = block["tableBytes"]
        flat = [text.encode("latin1") for text in block["fields"]]
        fields = [
            (hpack.NeverIndexedHeaderTuple if name.startswith(b"x-secret") else hpack.HeaderTuple)(name, value)
            for name, value in zip(flat[::2], flat[1::2])
        ]
        yield encoder.encode(fields, huffman=block["huffman"]).hex()

def decode(blocks):
    decoder = hpack.Decoder(max_header_list_size=1 << 24)
    for block in blocks:
        try:
            fields = decoder.decode(bytes.fromhex(block), raw=True)
        except hpack.HPACKError:
            yield None
            return
        yield [[part.decode("latin1") for part in field] + [not field.indexable] for field in fields]

work = {"encode": encode, "decode": decode}[sys.argv[1]]
json.dump([list(work(connection)) for connection in json.load(sys.stdin)], sys.stdout)
`

/** Why Python's hpack can not be asked here; null where it can. Said on stderr too: a skipped comparison proves nothing. */
export const PYTHON_HPACK_MISSING: string | null = missing()

/** Fields of a name beginning with `x-secret` are written never indexed. `tableBytes`: a change of size before the block. */
export interface PythonBlock {
  readonly fields: RawHeaders
  readonly huffman: boolean
  readonly tableBytes: number | null
}

export interface PythonField {
  readonly name: string
  readonly value: string
  readonly neverIndexed: boolean
}

/** The blocks of each connection, each connection with a dynamic table of its own. */
export function pythonEncode(connections: readonly (readonly PythonBlock[])[]): Buffer[][] {
  const encoded = ask('encode', connections) as string[][]
  return encoded.map((blocks) => blocks.map((hex) => Buffer.from(hex, 'hex')))
}

/** The fields of each block; null for the first that Python refuses, after which a connection ends. */
export function pythonDecode(connections: readonly (readonly Buffer[])[]): (PythonField[] | null)[][] {
  const hex = connections.map((blocks) => blocks.map((block) => block.toString('hex')))
  const decoded = ask('decode', hex) as ([string, string, boolean][] | null)[][]
  return decoded.map((blocks) =>
    blocks.map((block) => block?.map(([name, value, neverIndexed]) => ({ name, value, neverIndexed })) ?? null),
  )
}

function ask(work: 'encode' | 'decode', connections: unknown): unknown {
  const input = JSON.stringify(connections)
  const run = spawnSync(PYTHON, ['-c', SCRIPT, work], { input, timeout: TIMEOUT_MS, maxBuffer: 1 << 28 })
  if (run.status !== 0) throw new Error(`${PYTHON} ended with ${run.status}: ${run.stderr.toString()}`)
  return JSON.parse(run.stdout.toString())
}

function missing(): string | null {
  if (spawnSync(PYTHON, ['-c', 'import hpack'], { timeout: TIMEOUT_MS }).status === 0) return null
  const why = `${PYTHON} has no hpack: our HPACK is not compared with it`
  console.warn(why)
  return why
}
