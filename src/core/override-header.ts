// Fields that have an origin obey another method or path than those of the request line.

import { indexNames, namesLike } from './field-name.ts'
import type { RawHeaders } from './http1.ts'

/**
 * Names that some frameworks obey instead of the request line: method overrides of Rails, Express, Spring and Google APIs;
 * URL overrides of IIS rewriting, Symfony and Zend; and what nginx and Traefik tell an authorising service.
 * X-Forwarded-Host, -Proto, -For and -Prefix are not here: they tell where a request came from, not what it asks for.
 */
export const OVERRIDE_HEADERS: readonly string[] = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  'x-override-url',
  'x-original-method',
  'x-original-uri',
  'x-forwarded-method',
  'x-forwarded-uri',
]

const OVERRIDES: ReadonlySet<string> = new Set(OVERRIDE_HEADERS)

const INDEX = indexNames(OVERRIDE_HEADERS)

/** Which of `OVERRIDE_HEADERS` are present, each once. `_` counts as `-`, because CGI-like origins read it so. */
export function overrideHeaders(headers: RawHeaders): string[] {
  const present: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const spelled = String(headers[i])
    if (namesLike(INDEX, spelled) === null) continue
    const name = spelled.toLowerCase().replaceAll('_', '-')
    if (OVERRIDES.has(name) && !present.includes(name)) present.push(name)
  }
  return present
}
