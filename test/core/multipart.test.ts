// Form data as all readers take it apart, and the tricks by which two of them would not agree.

import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { readMultipart } from '../../src/core/multipart.ts'

const BOUNDARY = 'X-1'
const part = (head: string, content: string): string => `--${BOUNDARY}\r\n${head}\r\n\r\n${content}\r\n`
const text = (name: string, content: string): string => part(`Content-Disposition: form-data; name="${name}"`, content)
const END = `--${BOUNDARY}--\r\n`
const TO = text('To', 'a@acme.example')

const read = (body: string | Buffer, boundary = BOUNDARY): unknown => {
  const result = readMultipart(Buffer.from(body), boundary)
  return result.kind === 'ok' ? result.fields.map(({ name, value }) => [name, value]) : result.why
}

describe('form data', () => {
  it.each([
    ['one field', TO + END, [['To', 'a@acme.example']]],
    ['without a line behind its end', TO + END.trimEnd(), [['To', 'a@acme.example']]],
    [
      'a field twice',
      text('a', '1') + text('a', '2') + END,
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    ['an empty field', text('a', '') + END, [['a', '']]],
    ['lines in a field', text('a', 'one\r\ntwo\nthree') + END, [['a', 'one\r\ntwo\nthree']]],
    ['dashes in a field', text('a', '\r\n--X\r\n--') + END, [['a', '\r\n--X\r\n--']]],
    ['UTF-8 in name and text', text('naïve', '€') + END, [['naïve', '€']]],
    ['a name without quotes', part('content-disposition:form-data;name=a', '1') + END, [['a', '1']]],
    [
      'a file',
      part(
        'Content-Disposition: form-data; name="f"; filename="a b.bin"\r\nContent-Type: application/octet-stream',
        '\xff\0é',
      ) + END,
      [['f', 5]],
    ],
    [
      'what other libraries say of a part',
      part(
        'Content-Type: text/plain; charset="UTF-8"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Length: 2\r\nContent-Disposition: form-data; name="a"',
        'hi',
      ) + END,
      [['a', 'hi']],
    ],
  ])('%s', (_what, body, expected) => {
    expect(read(body)).toEqual(expected)
  })

  it('is what fetch and FormData make', async () => {
    const form = new FormData()
    form.append('To', 'a@acme.example')
    form.append('note', 'two\r\nlines')
    form.append('file', new Blob([Buffer.alloc(300, 7)]), 'report.pdf')
    const made = new Response(form)
    const boundary = /boundary=(.*)$/.exec(made.headers.get('content-type') ?? '')?.[1] ?? ''
    expect(read(Buffer.from(await made.arrayBuffer()), boundary)).toEqual([
      ['To', 'a@acme.example'],
      ['note', 'two\r\nlines'],
      ['file', 300],
    ])
  })

  const named = (parameters: string): string => part(`Content-Disposition: form-data; ${parameters}`, 'x') + END
  it.each([
    ['nothing', '', /precedes/],
    ['a preamble', `Bcc: x\r\n${TO}${END}`, /precedes/],
    ['an epilogue', `${TO}${END}more`, /does not end/],
    ['a second form behind its end', `${TO}${END}${TO}${END}`, /does not end|follows a boundary/],
    ['no end', TO, /does not end/],
    [
      'a delimiter behind a bare LF',
      `${text('a', `1\n--${BOUNDARY}\nContent-Disposition: form-data; name="Bcc"\n\nx`)}${END}`,
      /inside of a part/,
    ],
    ['a delimiter behind a bare CR', `${text('a', `1\r--${BOUNDARY}\rx`)}${END}`, /inside of a part/],
    ['blanks behind a boundary', TO.replace('X-1\r\n', 'X-1 \r\n') + END, /follows a boundary/],
    ['a longer boundary', `${TO}--${BOUNDARY}0\r\n\r\nx\r\n${END}`, /follows a boundary/],
    ['a part without a head', `--${BOUNDARY}\r\nx\r\n${END}`, /no head/],
    ['a folded line in a head', named('name="a";\r\n filename="b"'), /malformed/],
    ['a bare LF in a head', named('name="a"\nX: y'), /malformed/],
    ['a blank before a colon', part('Content-Disposition : form-data; name="a"', 'x') + END, /malformed/],
    ['two dispositions', named('name="a"\r\nContent-Disposition: form-data; name="Bcc"'), /malformed/],
    ['no disposition', part('Content-Type: text/plain', 'x') + END, /Content-Disposition/],
    ['another disposition', part('Content-Disposition: attachment; name="a"', 'x') + END, /Content-Disposition/],
    ['no name', named('filename="a"'), /Content-Disposition/],
    ['an empty name', named('name=""'), /Content-Disposition/],
    ['two names', named('name="a"; name="Bcc"'), /Content-Disposition/],
    ['two names in two cases', named('name="a"; Name="Bcc"'), /Content-Disposition/],
    ['a name in another encoding', named('name*=utf-8\'\'Bcc; name="a"'), /Content-Disposition/],
    ['an escaped quote', named('name="a\\"; x=\\"Bcc"'), /Content-Disposition/],
    ['an escape as browsers write it', named('name="a%22; name=Bcc"'), /Content-Disposition/],
    ['a name that is not UTF-8', Buffer.from(named('name="\xe9"'), 'latin1'), /Content-Disposition/],
    ['a charset of its own', text('_charset_', 'utf-7') + END, /Content-Disposition/],
    ['the same in capitals', text('_CHARSET_', 'utf-7') + END, /Content-Disposition/],
    ['base64', named('name="a"\r\nContent-Transfer-Encoding: base64'), /encoded once more/],
    ['another charset', named('name="a"\r\nContent-Type: text/plain; charset=utf-7'), /another way/],
    ['a form inside', named('name="a"\r\nContent-Type: multipart/mixed; boundary=y'), /another way/],
    ['a length that is wrong', named('name="a"\r\nContent-Length: 5'), /another length/],
    ['text that is not UTF-8', Buffer.from(text('a', '\xff') + END, 'latin1'), /not UTF-8/],
    ['more parts than it may have', text('a', '').repeat(1_001) + END, /more than 1000 parts/],
  ])('is refused with %s', (_what, body, why) => {
    expect(read(body)).toMatch(why)
  })

  it.each([[''], ['a'.repeat(71)], ['a b'], ['a"b'], ['a;b']])('is refused with the boundary %j', (boundary) => {
    expect(read(`--${boundary}\r\n`, boundary)).toMatch(/boundary is none/)
  })
})
