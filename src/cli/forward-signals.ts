// Passes the signals of `run` on to its command.

import { readFileSync } from 'node:fs'

const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']
/** What a terminal sends to everybody in its foreground, the command among them. */
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']

/** Until the result is called. `send` gets each signal once: not those that the terminal has given the command already. */
export function forwardSignals(send: (signal: NodeJS.Signals) => void): () => void {
  const listeners = FORWARDED.map((signal) => {
    const listener = (): void => {
      if (FROM_TERMINAL.includes(signal) && inForeground()) return
      send(signal)
    }
    process.on(signal, listener)
    return (): void => void process.removeListener(signal, listener)
  })
  return () => {
    for (const remove of listeners) remove()
  }
}

/** Whether our process group is the one that the terminal, if there is one, sends its signals to: pgrp and tpgid of proc_pid_stat(5). */
function inForeground(): boolean {
  try {
    const fields = /\) (.*)$/s.exec(readFileSync('/proc/self/stat', 'latin1'))?.[1]?.split(' ') ?? []
    return fields[2] !== undefined && fields[2] === fields[5]
  } catch {
    return false
  }
}
