// What is known of the bodies of one rule: their members, and which of their objects are maps, whose names are ids.

import { ANY_NAME, ELEMENTS, type MemberStep, parseMember, ROOT, stepText } from './shape-member.ts'

/** Of one rule. */
export const MAX_MEMBERS = 4_096
/** Different names learned of one object; with more it is a map. */
export const MAX_NAMES = 256

/** Where members lead to. `known`: the member itself, not only what is below it. */
interface Node {
  known: boolean
  readonly names: Map<string, Node>
  /** Of a map: what is known of its members, whatever their names. */
  any: Node | null
  elements: Node | null
}

const newNode = (): Node => ({ known: false, names: new Map(), any: null, elements: null })

export class KnownShape {
  readonly #root = newNode()
  /** As they are written. */
  #members = new Set<string>()

  get size(): number {
    return this.#members.size
  }

  /** One that stands for it in a map counts. */
  knows(member: string): boolean {
    return this.#members.has(member) || this.#nodeOf(member)?.known === true
  }

  /** Whether there is more to remember now: not of a member that is known, is not one, or that there is no room for. */
  add(member: string): boolean {
    const parsed = parseMember(member)
    if (parsed === null || this.size >= MAX_MEMBERS || this.knows(member)) return false
    if (parsed.kind === 'field') {
      this.#members.add(member)
      return true
    }
    let node = this.#root
    const path = [node]
    let text = ROOT
    for (const step of parsed.steps) {
      text += typeof step !== 'string' && node.any !== null ? ANY_NAME : stepText(step)
      node = enter(node, step)
      path.push(node)
    }
    node.known = true
    this.#members.add(text)
    if (path.filter((each) => mapped(each)).length > 0) this.#relist()
    return true
  }

  /** In the order of their characters. */
  list(): readonly string[] {
    return [...this.#members].sort()
  }

  #nodeOf(member: string): Node | null {
    const parsed = parseMember(member)
    if (parsed?.kind !== 'json') return null
    let node: Node | null = this.#root
    for (const step of parsed.steps) node = node === null ? null : follow(node, step)
    return node
  }

  #relist(): void {
    const fields = [...this.#members].filter((member) => !member.startsWith(ROOT))
    this.#members = new Set(fields)
    collect(this.#root, ROOT, this.#members)
  }
}

function follow(node: Node, step: MemberStep): Node | null {
  if (step === ELEMENTS) return node.elements
  if (step === ANY_NAME) return node.any
  return node.any ?? node.names.get(step.name) ?? null
}

function enter(node: Node, step: MemberStep): Node {
  if (step === ELEMENTS) return (node.elements ??= newNode())
  if (step === ANY_NAME) return (node.any ??= newNode())
  if (node.any !== null) return node.any
  const found = node.names.get(step.name) ?? newNode()
  node.names.set(step.name, found)
  return found
}

/** Makes it a map if it is one: if it has too many names, or names beside the one that stands for all. */
function mapped(node: Node): boolean {
  if (node.names.size <= (node.any === null ? MAX_NAMES : 0)) return false
  const any = (node.any ??= newNode())
  const named = [...node.names.values()]
  node.names.clear()
  for (const each of named) merge(any, each)
  return true
}

function merge(into: Node, from: Node): void {
  into.known ||= from.known
  if (from.elements !== null) merge((into.elements ??= newNode()), from.elements)
  if (from.any !== null) merge((into.any ??= newNode()), from.any)
  for (const [name, each] of from.names) merge(enter(into, { name }), each)
  mapped(into)
}

function collect(node: Node, text: string, into: Set<string>): void {
  if (node.known) into.add(text)
  if (node.elements !== null) collect(node.elements, text + ELEMENTS, into)
  if (node.any !== null) collect(node.any, text + ANY_NAME, into)
  for (const [name, each] of node.names) collect(each, text + stepText({ name }), into)
}
