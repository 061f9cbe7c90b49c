// A placeholder in the frames of HTTP/2: replaced on the way to an origin of either version, wherever the frames cut it.

import { expect, it } from 'vitest'
import { eachCell, HOST, OTHER } from './support/http2-bed.ts'
import { data, head, outcomeOn } from './support/http2-wire.ts'

const HELD = 'GITHUB_TOKEN_PLACEHOLDER'
const REAL = 'g1t/hub+t0ken "42"'
const ELSEWHERE = 'OTHER_TOKEN_PLACEHOLDER'
const OPTIONS = {
  env: { GITHUB_TOKEN: REAL },
  extra: `inject:
  - { placeholder: ${HELD}, value: "\${GITHUB_TOKEN}", hosts: [${HOST}], in: [header, query, body] }
  - { placeholder: ${ELSEWHERE}, value: "\${GITHUB_TOKEN}", hosts: [${OTHER}] }`,
}
const BODY = `{"note":"${HELD}"}`
/** Where the body is cut in two. */
const CUTS = [9, 10, 20, 9 + HELD.length - 1, 9 + HELD.length]

eachCell((bed) => {
  it('in a field and in the query', async () => {
    const { decided, got } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('GET', `/?note=${HELD}`, 'authorization', `Bearer ${HELD}`)))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
    })
    expect(decided).toMatchObject([{ decision: 'allow', query: `note=${HELD}`, security_flags: [`inject:${HELD}`] }])
    expect(got).toMatchObject([
      { target: `/?note=${encodeURIComponent(REAL)}`, fields: ['authorization', `Bearer ${REAL}`] },
    ])
  })

  it.each(CUTS)('in a body of a declared length that is cut behind %i bytes', async (at) => {
    const { got } = await bed().attack(1, async (peer) => {
      const fields = ['content-type', 'application/json', 'content-length', String(BODY.length)]
      peer.write(head(1, bed().asked('POST', '/', ...fields), false), data(1, BODY.slice(0, at)))
      await peer.alive()
      peer.write(data(1, BODY.slice(at), true))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
    })
    const [request] = got
    expect(JSON.parse(request?.body ?? '')).toEqual({ note: REAL })
    const { fields = [] } = request ?? {}
    expect(fields[fields.indexOf('content-length') + 1]).toBe(String(request?.body.length))
  })

  it('in a body without a length, byte by byte', async () => {
    const { decided, got } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('POST', '/', 'content-type', 'application/json'), false))
      for (const unit of BODY) peer.write(data(1, unit))
      peer.write(data(1, '', true))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
    })
    expect(decided).toMatchObject([{ security_flags: [`inject:${HELD}`] }])
    expect(JSON.parse(got[0]?.body ?? '')).toEqual({ note: REAL })
    expect(got[0]?.fields).not.toContain('content-length')
  })

  it('that is for another host stays', async () => {
    const { decided, got } = await bed().attack(1, async (peer) => {
      peer.write(head(1, bed().asked('GET', '/', 'authorization', `Bearer ${ELSEWHERE}`)))
      expect(await outcomeOn(peer, 1)).toMatchObject({ status: '200' })
    })
    expect(decided).toMatchObject([{ decision: 'allow', security_flags: [`placeholder:${ELSEWHERE}`] }])
    expect(got).toMatchObject([{ fields: ['authorization', `Bearer ${ELSEWHERE}`] }])
  })
}, OPTIONS)
