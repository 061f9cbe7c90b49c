// Gathers what a trail has to teach, by service, method and path template, in bounded memory; what is over a bound is counted.

import type { Host } from '../core/address.ts'
import { coversTemplate, fewestTemplates, segmentsOf } from '../core/path-template.ts'
import { compilePolicy } from '../core/policy.ts'
import { noteMcp } from './learn-mcp.ts'
import { type Asked, hostOf, type LearnedPassthrough, type LearnedRequest } from './learn-request.ts'
import {
  addExample,
  addSeen,
  nothingSeen,
  unseenTemplate,
  type Seen,
  type SeenTemplate,
  seenUnder,
} from './learn-seen.ts'

/** One client and one origin. What was refused, upgraded or has a %2F stands apart: it must not widen the rule of what was not. */
export interface Service {
  readonly client: string
  readonly scheme: 'http' | 'https'
  readonly host: Host
  readonly port: number
  readonly upgrade: boolean
  readonly encodedSlash: boolean
  readonly refused: boolean
  /** By method, then by template. */
  readonly methods: Map<string, Map<string, SeenTemplate>>
  templates: number
  collapses: number
}

export interface PassedThrough {
  readonly asked: Asked
  readonly seen: Seen
}

export interface Traffic {
  /** So many siblings become one `*`; null: none do. */
  readonly siblings: number | null
  readonly services: Map<string, Service>
  readonly passthroughs: Map<string, PassedThrough>
  /** Requests that are in no rule, by why. */
  readonly leftOut: Map<string, number>
  /** What is left of MAX_TEXT. */
  text: number
}

const MAX_SERVICES = 1_000
const TOO_MANY_ORIGINS = `beyond the first ${MAX_SERVICES} clients and origins`
/** Of one service; more of them nobody reads. */
const MAX_TEMPLATES = 500
/** How often the siblings of one service are made one to make room. Each time costs the square of its templates. */
const MAX_COLLAPSES = 32
/** Characters of all rules: a configuration has at most 4 MiB. */
const MAX_TEXT = 2 * 2 ** 20
/** What a template costs beside its characters, if it stands in a rule of its own. */
const RULE_TEXT = 512

export function noTraffic(siblings: number | null): Traffic {
  return { siblings, services: new Map(), passthroughs: new Map(), leftOut: new Map(), text: MAX_TEXT }
}

export function leaveOut({ leftOut }: Traffic, why: string, count = 1): void {
  leftOut.set(why, (leftOut.get(why) ?? 0) + count)
}

/** Null, or why it is in no rule. */
export function notePassthrough(traffic: Traffic, asked: LearnedPassthrough): string | null {
  const key = JSON.stringify([asked.client, asked.host.text, asked.port])
  let passed = traffic.passthroughs.get(key)
  if (passed === undefined) {
    if (traffic.passthroughs.size >= MAX_SERVICES) return TOO_MANY_ORIGINS
    passed = { asked, seen: nothingSeen() }
    traffic.passthroughs.set(key, passed)
  }
  addSeen(passed.seen, at(asked))
  return null
}

/** Null, or why it is in no rule. */
export function noteRequest(traffic: Traffic, request: LearnedRequest): string | null {
  const service = serviceOf(traffic, request)
  if (service === null) return TOO_MANY_ORIGINS
  const template = templateIn(traffic, service, request)
  if (typeof template === 'string') return template
  addSeen(template, at(request))
  addExample(template, request.template.ids)
  const before = template.mcp.text
  noteMcp(template.mcp, request.mcp, before + traffic.text)
  traffic.text -= template.mcp.text - before
  return null
}

function at(asked: Asked): Seen {
  return { count: 1, first: asked.at, last: asked.at }
}

export function serviceKey(of: Omit<Service, 'methods' | 'templates' | 'collapses'>): string {
  const { client, scheme, host, port, upgrade, encodedSlash, refused } = of
  return JSON.stringify([client, scheme, host.text, port, upgrade, encodedSlash, refused])
}

function serviceOf({ services }: Traffic, request: LearnedRequest): Service | null {
  const { client, scheme, host, port, upgrade, encodedSlash, refused } = request
  const key = serviceKey(request)
  const known = services.get(key)
  if (known !== undefined) return known
  if (services.size >= MAX_SERVICES) return null
  const counters = { methods: new Map(), templates: 0, collapses: 0 }
  const service: Service = { client, scheme, host, port, upgrade, encodedSlash, refused, ...counters }
  services.set(key, service)
  return service
}

/** Why there is none, where there is none. */
function templateIn(traffic: Traffic, service: Service, request: LearnedRequest): SeenTemplate | string {
  const { method, template } = request
  const known = service.methods.get(method)
  const same = known?.get(template.glob) ?? (traffic.siblings === null ? undefined : covering(known, template.glob))
  if (same !== undefined) return same
  const unfit = unfitFor(request)
  if (unfit !== null) return unfit
  if (service.templates >= MAX_TEMPLATES) {
    // One of those that have become one may match.
    if (collapsed(traffic, service)) return templateIn(traffic, service, request)
    return `beyond the first ${MAX_TEMPLATES} kinds of path of an origin`
  }
  const cost = template.glob.length + RULE_TEXT
  if (cost > traffic.text) return 'beyond what a configuration can hold'
  traffic.text -= cost
  service.templates += 1
  const templates = known ?? new Map<string, SeenTemplate>()
  const seen = unseenTemplate(template.glob)
  service.methods.set(method, templates.set(template.glob, seen))
  return seen
}

function covering(templates: ReadonlyMap<string, SeenTemplate> | undefined, glob: string): SeenTemplate | undefined {
  const segments = segmentsOf(glob)
  for (const seen of templates?.values() ?? []) if (coversTemplate(seen.segments, segments)) return seen
  return undefined
}

/** What many siblings fill is free again when they are one. False: there is no room to be had. */
function collapsed(traffic: Traffic, service: Service): boolean {
  const { siblings } = traffic
  if (siblings === null || service.collapses >= MAX_COLLAPSES) return false
  service.collapses += 1
  let left = 0
  for (const [method, templates] of service.methods) {
    const fewest = fewestTemplates(templates.keys(), siblings)
    service.methods.set(method, new Map(fewest.map((glob) => [glob, seenUnder(templates.values(), glob)])))
    left += fewest.length
  }
  traffic.text += (service.templates - left) * RULE_TEXT
  service.templates = left
  return left < MAX_TEMPLATES
}

/** Judged by the compiler of policies, so that what is learned is a rule. Of all that can be wrong with it, these two are left. */
function unfitFor(request: LearnedRequest): string | null {
  const { scheme, port, method, template, encodedSlash } = request
  const paths = { paths: [template.glob], ...(encodedSlash ? { encodedSlash } : {}) }
  const match = { hosts: [hostOf(request)], schemes: [scheme], ports: [port], methods: [method], ...paths }
  const compiled = compilePolicy({ mode: 'enforce', clients: [], rules: [{ id: 'learned', kind: 'allow', match }] })
  if (compiled.kind === 'ok') return null
  const methodAtFault = compiled.problems.some((problem) => problem.at.startsWith('allow.methods'))
  return methodAtFault ? 'by a method that no rule can name' : 'of a path that no rule can name'
}
