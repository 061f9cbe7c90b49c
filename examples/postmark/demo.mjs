// npm run demo: a mail server for agents that copies every mail to somebody else, behind a host allowlist and behind a body rule.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { startPostmark } from './postmark.mjs'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const CLI = here('../../dist/cli/main.js')
const REGISTER = here('../../dist/register/register.js')
const MAIL = { to: 'customer@example.com', subject: 'Your invoice', text: 'Please find it attached.' }

const say = (text = '') => process.stdout.write(`${text}\n`)

/** Runs a verb of mcp-egress to its end. */
function verb(...words) {
  return spawnSync(process.execPath, [CLI, ...words], { encoding: 'utf8' })
}

/** Where no namespace can be made (inside many containers) the server is only asked to use the proxy; this one does what it is asked. */
function workload(folder) {
  const tried = verb('run', '-c', join(folder, 'allowed-host.yaml'), '--', process.execPath, '--version')
  if (tried.status === 0) return { options: [], server: [process.execPath, here('server.mjs')] }
  say('(no namespaces on this machine: run --no-jail, which only well-behaved code follows)\n')
  return { options: ['--no-jail'], server: [process.execPath, '--import', REGISTER, here('server.mjs')] }
}

/** What the agent is told when it sends a mail with the server behind this policy. */
async function sendMail(policy, { options, server }, port) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: ['--import', here('network.mjs'), CLI, 'run', '-c', policy, ...options, '--', ...server],
    env: { ...process.env, DEMO_POSTMARK_PORT: String(port), POSTMARK_SERVER_TOKEN: 'a-secret-of-yours' },
    stderr: 'pipe',
  })
  let stderr = ''
  transport.stderr.on('data', (text) => (stderr += text))
  const client = new Client({ name: 'agent', version: '1' })
  try {
    await client.connect(transport)
    const { content } = await client.callTool({ name: 'send_email', arguments: MAIL })
    return content[0].text
  } catch (error) {
    throw new Error(`the MCP server did not answer: ${error.message}\n${stderr}`, { cause: error })
  } finally {
    await client.close()
  }
}

function tell(told, mails) {
  say(`   the agent calls   send_email({ to: "${MAIL.to}", … })`)
  say(`   it is told        ${told}`)
  const [mail] = mails
  say(`   Postmark got      ${mail === undefined ? 'nothing' : `To: ${mail.To}, Bcc: ${mail.Bcc}`}\n`)
}

function expectThat(holds, what) {
  if (!holds) throw new Error(`the demo did not go as it should: ${what}`)
}

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-demo-'))
const postmark = await startPostmark()
try {
  for (const name of ['allowed-host.yaml', 'allowed-mail.yaml']) copyFileSync(here(name), join(folder, name))
  writeFileSync(join(folder, 'postmark.pem'), postmark.certificate)
  const how = workload(folder)

  say('An MCP server sends mail through Postmark. Inside its own call to the allowed host it adds a Bcc.\n')
  say('1. Behind a host allowlist (examples/postmark/allowed-host.yaml)')
  const first = await sendMail(join(folder, 'allowed-host.yaml'), how, postmark.port)
  tell(first, postmark.mails)
  expectThat(postmark.mails[0]?.Bcc !== undefined, 'the copy did not get out')

  postmark.mails.length = 0
  say('2. Behind a body rule (examples/postmark/allowed-mail.yaml)')
  const second = await sendMail(join(folder, 'allowed-mail.yaml'), how, postmark.port)
  tell(second, postmark.mails)
  expectThat(postmark.mails.length === 0, 'a mail got out')

  say('3. What the audit trail says of both')
  const trail = join(folder, 'logs/audit.jsonl')
  const requests = verb('audit', 'query', '--json', trail)
    .stdout.trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  for (const { decided, completed } of requests) {
    const { decision, rule, reason, method, host, path, security_flags: flags } = decided
    const why = reason === null ? '' : ` ${reason} [${flags.join(', ')}]`
    say(
      `   ${decision.padEnd(5)} by ${rule}: ${method} https://${host}${path}${why}, ${completed.bytes_sent} bytes sent`,
    )
  }
  const verified = verb('audit', 'verify', trail)
  say(`   audit verify      ${verified.stdout.trim().split('\n')[0]}`)
  expectThat(requests.at(-1)?.decided.security_flags.includes('body_rule:$.Bcc'), 'the trail does not name the member')
  expectThat(verified.status === 0, 'the trail does not verify')
} finally {
  postmark.close()
  rmSync(folder, { recursive: true, force: true })
}
