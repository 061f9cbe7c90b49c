// What the two origins of the internet answer: the shapes of the real services, as the MCP servers insist on them.

import { BRAVE, GITHUB } from './machine.ts'
import type { CannedAnswer } from './origin-process.ts'

const owner = {
  login: 'acme',
  id: 1,
  node_id: 'U_1',
  avatar_url: 'https://api.github.com/avatar',
  url: 'https://api.github.com/users/acme',
  html_url: 'https://github.com/acme',
  type: 'Organization',
}

const repository = {
  id: 7,
  node_id: 'R_7',
  name: 'app',
  full_name: 'acme/app',
  private: false,
  owner,
  html_url: 'https://github.com/acme/app',
  description: 'found through the proxy',
  fork: false,
  url: 'https://api.github.com/repos/acme/app',
  created_at: '2024-01-01T00:00:00Z',
  updated_at: '2024-01-01T00:00:00Z',
  pushed_at: '2024-01-01T00:00:00Z',
  git_url: 'git://github.com/acme/app.git',
  ssh_url: 'git@github.com:acme/app.git',
  clone_url: 'https://github.com/acme/app.git',
  default_branch: 'main',
}

const file = {
  name: 'README.md',
  path: 'README.md',
  sha: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
  size: 5,
  url: 'https://api.github.com/repos/acme/app/contents/README.md',
  html_url: 'https://github.com/acme/app/blob/main/README.md',
  git_url: 'https://api.github.com/repos/acme/app/git/blobs/da39a3ee',
  download_url: 'https://raw.githubusercontent.com/acme/app/main/README.md',
  type: 'file',
  content: Buffer.from('the readme of acme').toString('base64'),
  encoding: 'base64',
  _links: { self: 'https://api.github.com/self', git: null, html: null },
}

const results = [{ title: 'A result', description: 'found through the proxy', url: 'https://example.com/' }]

/** More than one TLS record and one read, with characters of every length in UTF-8 and controls in between. */
export const LONG_TEXT: string = 'line \u0001 ä € 🙂\r\n\t'.repeat(4_000)

function json(value: unknown): CannedAnswer {
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) }
}

export const ANSWERS: Readonly<Record<string, CannedAnswer>> = {
  [`${GITHUB} /search/repositories`]: json({ total_count: 1, incomplete_results: false, items: [repository] }),
  [`${GITHUB} /repos/acme/app/contents/README.md`]: json(file),
  [`${GITHUB} /repos/acme/app/long`]: {
    status: 200,
    headers: {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': String(Buffer.byteLength(LONG_TEXT)),
      ETag: '"long"',
      'X-Request-ID': 'the-origins-own',
    },
    body: LONG_TEXT,
  },
  [`${BRAVE} /res/v1/web/search`]: json({ web: { results } }),
}
