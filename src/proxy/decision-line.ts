// What one decision looks like to somebody who watches: the facts of a line on a terminal.

export interface DecisionLine {
  readonly decision: 'allow' | 'deny'
  readonly enforced: boolean
  readonly reason: string | null
  readonly rule: string | null
  readonly client: string
  readonly method: string | null
  readonly url: string
  readonly requestId: string
}
