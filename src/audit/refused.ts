// How the trail says that it can not be opened.

/** `fix`: what to do about it. */
export function refused(path: string, why: string, fix: string, cause?: unknown): Error {
  return new Error(`audit trail ${path} ${why}: ${fix}`, { cause })
}
