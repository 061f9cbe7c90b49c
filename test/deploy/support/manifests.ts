// Reads the manifests of examples/kubernetes and checks them against the published schemas of Kubernetes, unknown fields too.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Deployment } from 'kubernetes-models/apps/v1/Deployment'
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim'
import { Service } from 'kubernetes-models/v1/Service'
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount'
import { parseAllDocuments } from 'yaml'

export const LAYOUTS: string = join(import.meta.dirname, '../../../examples/kubernetes')

export type Layout = 'base' | 'gateway'

/** The members that the tests look at. */
export interface Container {
  readonly name: string
  readonly image: string
  readonly args?: readonly string[]
  readonly restartPolicy?: string
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[]
  readonly securityContext: SecurityContext & {
    readonly allowPrivilegeEscalation?: boolean
    readonly readOnlyRootFilesystem?: boolean
    readonly privileged?: boolean
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] }
  }
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
}

export interface Probe {
  readonly exec?: { readonly command: readonly string[] }
}

export interface SecurityContext {
  readonly runAsUser?: number
  readonly runAsNonRoot?: boolean
  readonly fsGroup?: number
  readonly fsGroupChangePolicy?: string
  readonly seccompProfile?: { readonly type: string }
}

export interface PodSpec {
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly shareProcessNamespace?: boolean
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly dnsPolicy?: string
  readonly dnsConfig?: { readonly nameservers?: readonly string[] }
  readonly terminationGracePeriodSeconds?: number
  readonly securityContext: SecurityContext
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
  readonly volumes?: readonly { readonly name: string; readonly hostPath?: object; readonly emptyDir?: object }[]
}

export interface Manifest {
  readonly file: string
  readonly kind: string
  readonly name: string
  readonly value: Readonly<Record<string, unknown>>
}

const MODELS = [Deployment, NetworkPolicy, Namespace, PersistentVolumeClaim, Service, ServiceAccount] as const

/** Every document of a layout but its kustomization. */
export function manifestsOf(layout: Layout): Manifest[] {
  const folder = join(LAYOUTS, layout)
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml') && !OTHER.has(name))
  return files.flatMap((file) =>
    parseAllDocuments(readFileSync(join(folder, file), 'utf8')).map((document) => {
      if (document.errors.length > 0) throw document.errors[0]
      const value = document.toJS() as Manifest['value'] & { kind: string; metadata: { name: string } }
      return { file, kind: value.kind, name: value.metadata.name, value }
    }),
  )
}
const OTHER: ReadonlySet<string> = new Set(['kustomization.yaml', 'mcp-egress.yaml'])

export function podOf(layout: Layout, deployment: string): PodSpec {
  const found = manifestsOf(layout).find(({ kind, name }) => kind === 'Deployment' && name === deployment)
  if (found === undefined) throw new Error(`${layout} has no Deployment ${deployment}`)
  return (found.value as unknown as { spec: { template: { spec: PodSpec } } }).spec.template.spec
}

export function containerOf(pod: PodSpec, name: string): Container {
  const found = [...(pod.initContainers ?? []), ...pod.containers].find((container) => container.name === name)
  if (found === undefined) throw new Error(`no container ${name}`)
  return found
}

/** Everything that the schema of its kind refuses, and every field that the schema does not know, by its path. */
export function problemsOf(value: Readonly<Record<string, unknown>>): string[] {
  const Model = MODELS.find(({ apiVersion, kind }) => apiVersion === value['apiVersion'] && kind === value['kind'])
  if (Model === undefined) return [`no schema for ${String(value['apiVersion'])} ${String(value['kind'])}`]
  // The schemas allow unknown members, as the API server does unless asked; their validator reads just the members it knows. So
  // a member that was never read is one that Kubernetes does not have.
  const read = new Set<string>()
  const problems: string[] = []
  try {
    Model.prototype.validate.call(watched(value, '', read) as InstanceType<typeof Model>)
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error))
  }
  return [...problems, ...unread(value, '', read).map((path) => `unknown field ${path}`)]
}

function watched(value: unknown, at: string, read: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value
  return new Proxy(value, {
    get: (target, key) => {
      const inside: unknown = Reflect.get(target, key)
      if (typeof key === 'symbol' || !Object.hasOwn(target, key)) return inside
      read.add(`${at}/${key}`)
      return watched(inside, `${at}/${key}`, read)
    },
  })
}

/** Paths that are not in `read`, without what lies below them. */
function unread(value: unknown, at: string, read: ReadonlySet<string>): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inside]) => {
    const path = `${at}/${key}`
    return read.has(path) ? unread(inside, path, read) : [path]
  })
}
