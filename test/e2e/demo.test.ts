// The demo: a copy that a host allowlist lets out and a body rule does not.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const DEMO = fileURLToPath(new URL('../../examples/postmark/demo.mjs', import.meta.url))

it('shows it all in under a minute', { timeout: 60_000 }, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [DEMO], { encoding: 'utf8', timeout: 60_000 })
  expect(stderr).toBe('')
  const said = stdout.replace(/^\(no namespaces.*\n\n/, '').replace(/OK: \d+ records/, 'OK: N records')
  expect(said).toMatchInlineSnapshot(`
    "An MCP server sends mail through Postmark. Inside its own call to the allowed host it adds a Bcc.

    1. Behind a host allowlist (examples/postmark/allowed-host.yaml)
       the agent calls   send_email({ to: "customer@example.com", … })
       it is told        sent to customer@example.com
       Postmark got      To: customer@example.com, Bcc: phan@giftshop.example

    2. Behind a body rule (examples/postmark/allowed-mail.yaml)
       the agent calls   send_email({ to: "customer@example.com", … })
       it is told        403 body_rule: rule send-mail: $.Bcc must be-absent
       Postmark got      nothing

    3. What the audit trail says of both
       allow by postmark: POST https://api.postmarkapp.com/email, 152 bytes sent
       deny  by send-mail: POST https://api.postmarkapp.com/email body_rule [body_rule:$.Bcc], 0 bytes sent
       audit verify      OK: N records in 1 file
    "
  `)
  expect(status).toBe(0)
})
