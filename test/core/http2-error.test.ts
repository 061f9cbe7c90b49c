import { constants } from 'node:http2'
import { describe, expect, it } from 'vitest'
import { HTTP2_ERROR_CODE, type Http2Error, http2ErrorName } from '../../src/core/http2-error.ts'

const NAMES = Object.keys(HTTP2_ERROR_CODE) as Http2Error[]

/** RFC 9113 §7 as nghttp2 numbers it. */
const INDEPENDENT: Readonly<Record<Http2Error, number>> = {
  NO_ERROR: constants.NGHTTP2_NO_ERROR,
  PROTOCOL_ERROR: constants.NGHTTP2_PROTOCOL_ERROR,
  INTERNAL_ERROR: constants.NGHTTP2_INTERNAL_ERROR,
  FLOW_CONTROL_ERROR: constants.NGHTTP2_FLOW_CONTROL_ERROR,
  SETTINGS_TIMEOUT: constants.NGHTTP2_SETTINGS_TIMEOUT,
  STREAM_CLOSED: constants.NGHTTP2_STREAM_CLOSED,
  FRAME_SIZE_ERROR: constants.NGHTTP2_FRAME_SIZE_ERROR,
  REFUSED_STREAM: constants.NGHTTP2_REFUSED_STREAM,
  CANCEL: constants.NGHTTP2_CANCEL,
  COMPRESSION_ERROR: constants.NGHTTP2_COMPRESSION_ERROR,
  CONNECT_ERROR: constants.NGHTTP2_CONNECT_ERROR,
  ENHANCE_YOUR_CALM: constants.NGHTTP2_ENHANCE_YOUR_CALM,
  INADEQUATE_SECURITY: constants.NGHTTP2_INADEQUATE_SECURITY,
  HTTP_1_1_REQUIRED: constants.NGHTTP2_HTTP_1_1_REQUIRED,
}

describe('error codes', () => {
  it.each(NAMES)('%s has the number that nghttp2 gives it, and the number its name', (name) => {
    expect(HTTP2_ERROR_CODE[name]).toBe(INDEPENDENT[name])
    expect(http2ErrorName(INDEPENDENT[name])).toBe(name)
  })

  it.each([0xe, 0xff, 0xffff_ffff, -1])('%d has no name', (code) => {
    expect(http2ErrorName(code)).toBeNull()
  })
})
