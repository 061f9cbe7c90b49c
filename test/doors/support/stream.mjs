// Reads one URL as it comes with undici's fetch; prints HEAD, each DATA, and END or ERROR. Trust and proxy come from the environment.
import { EnvHttpProxyAgent, fetch } from 'undici'

const said = (word, text) => process.stdout.write(`${word} ${text.replaceAll('\n', '\\n')}\n`)

try {
  const answer = await fetch(process.argv[2], { dispatcher: new EnvHttpProxyAgent() })
  said('HEAD', String(answer.status))
  for await (const part of answer.body) said('DATA', Buffer.from(part).toString())
  said('END', '')
} catch (error) {
  said('ERROR', `${String(error)} ${String(error?.cause ?? '')}`)
}
process.exit()
