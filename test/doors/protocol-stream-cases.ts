// Bodies that take their time, break off, or are no longer wanted, and what the rule has recorded of them.

import { gate } from './support/gate.ts'
import { RECORDED } from './support/protocol-bed.ts'
import { asks, briefly, OK, PASSED, type ProtocolCase, unhinted } from './support/protocol-case.ts'
import type { Turn } from './support/protocol-origin.ts'

const EVENTS = ['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n']

/** The origin sends a part, and breaks off when the client has it. */
function brokenBy(breakOff: (turn: Turn) => void, length: string | null): ProtocolCase['play'] {
  return async (bed, path) => {
    const arrived = gate()
    bed.origin.on(path, async (turn) => {
      turn.head(200, length === null ? [] : [['Content-Length', length]])
      await turn.write('part')
      await arrived.opened
      breakOff(turn)
    })
    const exchange = (await bed.client()).begin({ path })
    const part = await exchange.take(4)
    arrived.open()
    const broken = briefly(await exchange.answer())
    const { status } = await bed.ask({ path: `${path}/after` })
    return [part, broken, status]
  }
}

const BROKEN = ['part', { status: 200, ending: 'broken' }, 200]
const BROKEN_TRAIL = ['allow upstream_aborted upstream_unreachable 200', ...PASSED]

export const streamCases: readonly ProtocolCase[] = [
  {
    does: 'the head of an event stream arrives before its first event, and each event before the next',
    play: async (bed, path) => {
      const gates = EVENTS.map(() => gate())
      bed.origin.on(path, async (turn) => {
        turn.head(200, [['Content-Type', 'text/event-stream']])
        for (const [index, event] of EVENTS.entries()) {
          await gates[index]?.opened
          await turn.write(event)
        }
        turn.end()
      })
      const exchange = (await bed.client()).begin({ path })
      const seen: unknown[] = [await exchange.head()]
      for (const [index, event] of EVENTS.entries()) {
        gates[index]?.open()
        seen.push(await exchange.take(event.length))
      }
      return [...seen, await exchange.answer()]
    },
    client: [{ status: 200, fields: [['content-type', 'text/event-stream']] }, ...EVENTS, { ending: 'whole' }],
    trail: PASSED,
    origin: [{}],
  },
  {
    does: 'events go both ways at the same time',
    play: async (bed, path) => {
      const exchange = (await bed.client()).begin({ method: 'POST', path, streamed: true })
      const seen: unknown[] = []
      for (const event of EVENTS) {
        await exchange.write(event)
        seen.push(await exchange.take(event.length))
      }
      exchange.end()
      return [...seen, await exchange.answer()]
    },
    script: (turn) => turn.echo(),
    client: [...EVENTS, { status: 200, ending: 'whole' }],
    trail: PASSED,
    origin: [{}],
  },
  {
    does: 'an answer that comes before the end of the upload is read, and the upload ends',
    play: async (bed, path) => {
      const exchange = (await bed.client()).begin({ method: 'PUT', path, streamed: true })
      await exchange.write('part')
      return exchange.answer()
    },
    script: async (turn) => {
      await turn.take(4)
      turn.answer(507, [], 'no room')
    },
    client: { status: 507, body: 'no room', ending: 'whole' },
    trail: ['allow completed 507'],
    origin: [{}],
  },
  {
    does: 'a client that gives up in the middle of an answer is gone for the origin',
    play: async (bed, path) => {
      const gone = gate()
      bed.origin.on(path, async (turn) => {
        turn.head(200)
        await turn.write('part')
        await turn.gone
        gone.open()
      })
      const exchange = (await bed.client()).begin({ path })
      const part = await exchange.take(4)
      exchange.leave()
      await gone.opened
      return part
    },
    client: 'part',
    trail: ['allow client_aborted client_aborted 200'],
    origin: [{}],
  },
  {
    does: 'a client whose connection breaks in the middle of an answer is gone for the origin',
    play: async (bed, path) => {
      const gone = gate()
      bed.origin.on(path, async (turn) => {
        turn.head(200)
        await turn.write('part')
        await turn.gone
        gone.open()
      })
      const client = await bed.client()
      const part = await client.begin({ path }).take(4)
      client.drop()
      await gone.opened
      return part
    },
    client: 'part',
    trail: ['allow client_aborted client_aborted 200'],
    origin: [{}],
  },
  {
    does: 'a client that gives up while the origin still thinks is gone for the origin',
    play: async (bed, path) => {
      const [thinking, gone] = [gate(), gate()]
      bed.origin.on(path, async (turn) => {
        await turn.body()
        thinking.open()
        await turn.gone
        gone.open()
      })
      const exchange = (await bed.client()).begin({ method: 'POST', path, body: 'hello' })
      await thinking.opened
      exchange.leave()
      await gone.opened
      return null
    },
    client: null,
    trail: ['allow client_aborted client_aborted'],
    origin: [{ body: 'hello', ending: 'whole' }],
  },
  ...(['10', null] as const).map(
    (length): ProtocolCase => ({
      does: `a client that gives up in the middle of an upload ${length === null ? 'without a' : 'of known'} length leaves no whole request behind`,
      play: async (bed, path) => {
        const [begun, over] = [gate(), gate<string>()]
        bed.origin.on(path, async (turn) => {
          await turn.take(4)
          begun.open()
          over.open(await turn.body())
        })
        const fields = length === null ? [] : [['Content-Length', length] as const]
        const exchange = (await bed.client()).begin({ method: 'POST', path, streamed: true, fields })
        await exchange.write('half')
        await begun.opened
        exchange.leave()
        return over.opened
      },
      client: 'half',
      trail: ['allow client_aborted client_aborted'],
      origin: [{ body: 'half', ending: 'broken' }],
    }),
  ),
  ...(['10', null] as const).flatMap((length): ProtocolCase[] => [
    {
      does: `an answer ${length === null ? 'without a length' : 'of known length'} that the origin resets never looks whole`,
      play: brokenBy((turn) => turn.reset(), length),
      client: BROKEN,
      trail: BROKEN_TRAIL,
      origin: [{}],
    },
    {
      does: `an answer ${length === null ? 'without a length' : 'of known length'} whose connection is lost never looks whole`,
      play: brokenBy((turn) => turn.hangUp(), length),
      client: BROKEN,
      trail: BROKEN_TRAIL,
      origin: [{}],
    },
  ]),
  {
    does: 'an upload that the origin resets without an answer is 502, and is not sent twice',
    play: async (bed, path) => unhinted(await bed.ask({ method: 'POST', path, body: 'hello' })),
    script: async (turn) => {
      await turn.body()
      turn.reset()
    },
    client: { status: 502, reason: 'upstream_unreachable', ending: 'whole' },
    trail: ['allow failed upstream_unreachable 502'],
    origin: [{ body: 'hello' }],
  },
  {
    does: 'a rule that has fields and bodies recorded gets the same ones',
    play: asks(
      {
        method: 'POST',
        fields: [
          ['Content-Type', 'text/plain'],
          ['Authorization', 'Bearer s3cr3t'],
        ],
        body: 'asked',
      },
      RECORDED,
    ),
    script: async (turn) => {
      await turn.body()
      turn.answer(200, [['Content-Type', 'text/plain']], 'answered')
    },
    client: { ...OK, body: 'answered' },
    trail: PASSED,
    origin: [{ body: 'asked' }],
  },
]
