// The processor time that this process has taken: on a machine with other things to do, its own share of the clock.

/** Milliseconds, by all its threads: what is collected in the background counts too. */
export function cpuMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e3
}
