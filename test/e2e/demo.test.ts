// The demo: a copy that a host allowlist lets out and a body rule does not.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const DEMO = fileURLToPath(new URL('../../examples/postmark/demo.mjs', import.meta.url))

it('shows it all in under a minute', { timeout: 60_000 }, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [DEMO], { encoding: 'utf8', timeout: 60_000 })
  expect(stderr).toBe('')
  expect(stdout.replaceAll(/\d\d:\d\d:\d\d\.\d{3}/g, '')).toMatchInlineSnapshot()
  expect(status).toBe(0)
})
