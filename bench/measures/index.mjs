// Every measure of the benchmark, in the order of the report.
import { measure as audit } from './audit.mjs'
import { measure as bulk } from './bulk.mjs'
import { measure as coldHosts } from './cold-hosts.mjs'
import { measure as decide } from './decide.mjs'
import { measure as handshakes } from './handshakes.mjs'
import { measure as keepAlive } from './keep-alive.mjs'
import { measure as latency } from './latency.mjs'
import { measure as loadCurve } from './load-curve.mjs'
import { measure as memory } from './memory.mjs'
import { measure as sse } from './sse.mjs'
import { measure as workers } from './workers.mjs'

export const measures = [
  keepAlive,
  handshakes,
  coldHosts,
  latency,
  bulk,
  memory,
  sse,
  decide,
  audit,
  loadCurve,
  workers,
]
