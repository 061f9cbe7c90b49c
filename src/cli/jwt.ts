// Signed tokens across reloads: who has shown which, and the keys that are fetched, outlive the configuration that they were first for.

import type { Config } from '../config/load.ts'
import type { JwtSettings } from '../config/proofs.ts'
import type { Identity } from '../core/identity.ts'
import { KeyServer, type KeyServerGround } from '../proxy/jwks-fetch.ts'
import { JwtVerifier, type KeySource, SeenTokens } from '../proxy/jwt-verifier.ts'

export class SignedTokens {
  readonly #server: KeyServer
  readonly #seen = new SeenTokens()
  readonly #now: () => number

  constructor(ground: KeyServerGround) {
    this.#server = new KeyServer(ground)
    this.#now = ground.now
  }

  /** The identity of the configuration, with what verifies the tokens of its issuer. */
  identityOf({ identity, jwt }: Config): Identity {
    if (jwt === null) return identity
    return { ...identity, verifier: new JwtVerifier(jwt, this.#keysOf(jwt), this.#seen, this.#now) }
  }

  /** The configuration is in force: its keys are fetched, where they have to be. Resolves once that was tried. */
  inForce({ jwt }: Config): Promise<void> {
    return this.#server.follow(jwt?.keys instanceof URL ? jwt.keys : null)
  }

  /** What is missing for signed tokens to be taken, null: nothing. */
  get missing(): string | null {
    return this.#server.isWithoutKeys ? 'keys of identity.jwt' : null
  }

  close(): void {
    this.#server.close()
  }

  #keysOf({ keys }: JwtSettings): KeySource {
    if (!(keys instanceof URL)) return { keys: () => keys, missing: () => undefined }
    return { keys: () => this.#server.keys(), missing: () => this.#server.missing() }
  }
}
