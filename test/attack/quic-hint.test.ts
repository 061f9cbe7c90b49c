// Invitations to HTTP/3, which would lead past us over UDP: they stay here, wherever in an answer they stand.

import { expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import { valuesOf } from '../support/wire.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'

const H3 = 'h3=":443"; ma=2592000,h3-29=":443"'

eachWay(EVERY_WAY, (bed) => {
  it.each([
    ['as usual', `Alt-Svc: ${H3}\r\n`],
    ['in capitals', `ALT-SVC: ${H3}\r\n`],
    ['twice', `alt-svc: ${H3}\r\nAlt-Svc: h2="alt.example:443"\r\n`],
    ['to forget what was said', 'Alt-Svc: clear\r\n'],
    ['named by Connection', `Connection: alt-svc\r\nAlt-Svc: ${H3}\r\n`],
  ])('[P30] Alt-Svc %s does not reach the client, everything beside it does', async (name, fields) => {
    const { origin, ask } = bed()
    const path = `/alt-svc/${name.replaceAll(' ', '-')}`
    origin.on(path, (wire) => wire.write(ok('body', `X-Before: 1\r\n${fields}X-After: 2\r\n`)))
    const answer = await ask(path)
    expect(answer.body).toBe('body')
    expect(answer.fields).toEqual([
      ['X-Before', '1'],
      ['X-After', '2'],
      ['Content-Length', '4'],
    ])
  })

  it('[P30] nor in an interim answer', async () => {
    const { origin, open, request } = bed()
    const interim = `HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nAlt-Svc: ${H3}\r\n\r\n`
    origin.on('/interim', (wire) => wire.write(interim + ok('final')))
    const wire = await open()
    wire.write(request('/interim'))
    expect((await wire.message()).fields).toEqual([['Link', '</a.css>; rel=preload']])
    expect((await wire.message()).body).toBe('final')
    wire.socket.destroy()
  })

  it('[P30] nor in a trailer', async () => {
    const { origin, ask } = bed()
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n'
    origin.on('/trailer', (wire) => wire.write(`${chunked}Alt-Svc: ${H3}\r\nX-Checksum: 7\r\n\r\n`))
    const answer = await ask('/trailer')
    expect([answer.body, answer.trailers]).toEqual(['body', [['X-Checksum', '7']]])
  })

  it('a client that says it came by an alternative may say so', async () => {
    const { origin, ask } = bed()
    await ask('/alt-used', { fields: 'Alt-Used: alt.example\r\n' })
    const [asked] = origin.askedFor('/alt-used')
    expect(asked === undefined ? [] : valuesOf(asked, 'alt-used')).toEqual(['alt.example'])
  })
})
