// mcp-egress with other settings than the benchmark's own, as a peer beside it.
import { readFileSync, writeFileSync } from 'node:fs'

/** Whichever versions of Node.js it runs on. */
export const isOurs = ({ name }) => name === 'mcp-egress' || name.startsWith('mcp-egress@')

/**
 * @param {import('../peers/index.mjs').Peer} peer mcp-egress, whose command ends with the path of its configuration.
 * @param {string} variant For its name and its label.
 * @param {(yaml: string) => string} change Of its configuration.
 */
export function withSettings(peer, variant, change) {
  const start = (lab, options) => {
    const spawn = (command, given) => {
      const file = command.at(-1)
      writeFileSync(file, change(readFileSync(file, 'utf8')))
      return lab.spawn(command, given)
    }
    return peer.start({ ...lab, spawn }, options)
  }
  return { ...peer, name: `${peer.name}, ${variant}`, label: `${peer.label}, ${variant}`, start }
}
