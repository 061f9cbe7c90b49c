// The fields of a form, however it was encoded, and the values of one of them.

/** `value`: text, or of a file how many bytes it has. */
export interface Field {
  readonly name: string
  readonly value: string | number
}

export type FieldsRead =
  | { readonly kind: 'ok'; readonly fields: readonly Field[] }
  | { readonly kind: 'bad'; readonly why: string }

/** More than any form has, and few enough to be looked through for every condition. */
export const MAX_FIELDS = 1_000

/** Every value of that name. Null where another reader could take a field of another spelling for it. */
export function fieldValues(fields: readonly Field[], name: string): readonly (string | number)[] | null {
  const read = readAs(name)
  const values: (string | number)[] = []
  for (const field of fields) {
    if (field.name === name) values.push(field.value)
    else if (readAs(field.name) === read) return null
  }
  return values
}

/**
 * SECURITY: `bcc` is `Bcc` for readers that ignore case (upper case first: it also folds U+017F and U+212A); PHP makes a list of `Bcc[]`, cuts
 * blanks before a name, and turns blanks and dots in it into `_`.
 */
function readAs(name: string): string {
  const list = name.indexOf('[', 1)
  const own = list === -1 ? name : name.slice(0, list)
  return own.trim().replaceAll(/[ .]/g, '_').toUpperCase().toLowerCase()
}
