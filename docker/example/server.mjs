// Stands in for an MCP server: asks for one thing its rules allow and one they do not, tells what came back, and stays.
const ALLOWED = process.env.EXAMPLE_ALLOWED ?? 'https://api.github.com/zen'
const DENIED = process.env.EXAMPLE_DENIED ?? 'https://api.github.com/user/emails'
const TIMEOUT_MS = 20_000

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(0))

for (const url of [ALLOWED, DENIED]) {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    process.stdout.write(`${url}: ${answer.status} ${(await answer.text()).trim()}\n`)
  } catch (error) {
    process.stdout.write(`${url}: ${error.cause?.message ?? error.message}\n`)
  }
}
setInterval(() => undefined, 2 ** 30)
