// How many new names under a wildcard one client may ask for in a minute: a wildcard is a channel to whoever runs the zone.

/** A service behind a wildcard has a few names; one that writes data into names needs a new one for every 28 bytes. */
const MAX_NEW_NAMES = 60
const WINDOW_MS = 60_000
/** Clients times wildcard rules, those of the last minute: above that of any real configuration, and 250,000 names. */
const MAX_WINDOWS = 4_096

interface Window {
  readonly since: number
  readonly names: Set<string>
}

export class NewNames {
  // In order of their beginning: a Map keeps insertion order.
  readonly #windows = new Map<string, Window>()

  /** Whether `key` may ask for `name`: it has already in this window, or the window has room. `now`: ms, never back. */
  admit(key: string, name: string, now: number): boolean {
    const names = this.#window(key, now)?.names
    if (names === undefined) return false
    if (names.size >= MAX_NEW_NAMES && !names.has(name)) return false
    names.add(name)
    return true
  }

  /** SECURITY: no room is a refusal: to forget a window that is not over would begin it anew. */
  #window(key: string, now: number): Window | null {
    const known = this.#windows.get(key)
    if (known !== undefined && now - known.since < WINDOW_MS) return known
    this.#windows.delete(key)
    const [oldest] = this.#windows
    if (oldest !== undefined && now - oldest[1].since >= WINDOW_MS) this.#windows.delete(oldest[0])
    if (this.#windows.size >= MAX_WINDOWS) return null
    const begun: Window = { since: now, names: new Set() }
    this.#windows.set(key, begun)
    return begun
  }
}
