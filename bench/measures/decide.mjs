// What a decision costs against the number of rules: 10 to 100,000 of three kinds, permitted and denied. No sockets.
import { fileURLToPath } from 'node:url'
import { isOurs } from './variant.mjs'

const SCRIPT = fileURLToPath(new URL('./decide-rules.mjs', import.meta.url))
const COLUMNS = [
  { key: 'hit', title: 'permitted ns' },
  { key: 'miss', title: 'denied, with its hint ns' },
  { key: 'compile', title: 'compiling all rules ms', digits: 1 },
]

export const measure = {
  name: 'decide',
  title: 'Decisions against the number of rules',
  rounds: ({ quick }) => (quick ? 3 : 9),
  async run(lab, peers, { quick }) {
    if (!peers.some(isOurs)) return { tables: [] }
    const rounds = this.rounds({ quick })
    const command = [process.execPath, SCRIPT, String(rounds), quick ? '20' : '100']
    const { status, stdout, stderr } = await lab.run(command, { cpu: lab.cpus.proxy, uid: lab.uids.proxy })
    if (status !== 0) throw new Error(stderr)
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .map(({ kind, count, compileMs: compile, hit, miss }) => {
        const label = `${kind}, ${count.toLocaleString('en-US')} rules`
        return { name: label, label, cells: { hit, miss, compile } }
      })
    const note =
      'One decision by itself, over requests spread over up to 1,000 of the rules; the same for requests that no rule permits'
    return { tables: [{ key: 'decide', title: 'Decisions', note, columns: COLUMNS, rows }] }
  },
}
