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
  const known = readings(name)
  const first = folded(name).charCodeAt(0)
  const values: (string | number)[] = []
  for (const field of fields) {
    if (field.name === name) values.push(field.value)
    else if (mayBegin(field.name, first) && readings(field.name).some((reading) => known.includes(reading))) return null
  }
  return values
}

/**
 * SECURITY: `bcc` is `Bcc` for readers that ignore case (upper case first: it also folds U+017F and U+212A); PHP makes a list of `Bcc[]`, cuts
 * blanks before a name, and turns blanks, dots and a `[` that nothing closes into `_`.
 */
function readings(name: string): readonly string[] {
  const list = name.indexOf('[', 1)
  const whole = folded(name)
  return list === -1 ? [whole] : [folded(name.slice(0, list)), whole]
}

/** Whether a reading of `name` could begin so. A plain letter or digit is read as nothing else, which tells most names at a twentieth of the time. */
function mayBegin(name: string, first: number): boolean {
  const code = name.charCodeAt(0)
  const digit = code >= 0x30 && code <= 0x39
  const letter = (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)
  return !(digit || letter) || (digit ? code : code | 0x20) === first
}

function folded(name: string): string {
  return name.trim().replaceAll(/[ .[]/g, '_').toUpperCase().toLowerCase()
}
