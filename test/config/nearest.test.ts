import { describe, expect, it } from 'vitest'
import { nearest } from '../../src/config/nearest.ts'

const KNOWN = ['issues/get', 'issues/list', 'issues/list-for-repo', 'repos/get', 'users/get-by-username', 'x']

describe('the nearest of the known names', () => {
  it.each<[string, string, readonly string[]]>([
    ['a letter left out', 'isues/get', ['issues/get']],
    ['words that changed places', 'list/issues', ['issues/list']],
    ['another case', 'Issues/Get', ['issues/get']],
    ['another separator', 'issues.list.for.repo', ['issues/list-for-repo', 'issues/list']],
    ['nothing like them', 'gizmo', []],
    ['too short to be like any', 'y', []],
    ['nothing', '', []],
  ])('%s', (_, written, expected) => {
    expect(nearest(written, KNOWN).slice(0, 2)).toEqual(expected)
  })

  it('are three at most, the best first', () => {
    const known = Array.from({ length: 100 }, (_, index) => `operation-${index}`)
    const near = nearest('operation-42', known)
    expect(near).toHaveLength(3)
    expect(near[0]).toBe('operation-42')
  })
})
