// API descriptions made for tests: one in the style of GitHub's, of any size.

import { stringify } from 'yaml'

const RESOURCES = [
  'issues',
  'pulls',
  'actions',
  'checks',
  'hooks',
  'labels',
  'releases',
  'deployments',
  'keys',
  'teams',
]

/** Five operations a resource, most of them below `/repos/{owner}/{repo}`: as an object, to be written as JSON or YAML. */
export function largeDescription(operations: number): object {
  const paths: Record<string, Record<string, unknown>> = {}
  for (let count = 0; count < operations; count += 5) {
    const resource = `${RESOURCES[(count / 5) % RESOURCES.length]}-${count}`
    const operation = (verb: string): unknown => ({
      summary: `${verb} ${resource}`,
      description: `What this does to ${resource}, with a link to [the docs](https://docs.example/rest/${resource}).\n\nNot everybody may.`,
      tags: [resource],
      operationId: `${resource}/${verb}`,
      externalDocs: { description: 'API method documentation', url: `https://docs.example/rest/${resource}#${verb}` },
      parameters: [
        { $ref: '#/components/parameters/owner' },
        { $ref: '#/components/parameters/repo' },
        { name: 'state', in: 'query', schema: { type: 'string', enum: ['open', 'closed', 'all'], default: 'open' } },
      ],
      responses: {
        200: {
          description: 'Response',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/thing' }, examples: {} } },
        },
        404: { $ref: '#/components/responses/not_found' },
      },
      'x-github': { githubCloudOnly: false, enabledForGitHubApps: true, category: resource },
    })
    paths[`/repos/{owner}/{repo}/${resource}`] = { get: operation('list'), post: operation('create') }
    paths[`/repos/{owner}/{repo}/${resource}/{id}`] = { get: operation('get'), patch: operation('update') }
    paths[`/repos/{owner}/{repo}/${resource}/latest`] = { get: operation('get-latest') }
  }
  return { openapi: '3.0.3', servers: [{ url: 'https://api.github.com' }], paths }
}

export function asYaml(description: unknown): string {
  return stringify(description)
}
