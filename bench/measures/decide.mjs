// What a decision costs against the number of rules, 10 to 100,000 of five mixes, and what it costs to judge a body. No sockets.
import { fileURLToPath } from 'node:url'
import { plot } from '../plot.mjs'
import { isOurs } from './variant.mjs'

const RULES = fileURLToPath(new URL('./decide-rules.mjs', import.meta.url))
const BODIES = fileURLToPath(new URL('./decide-bodies.mjs', import.meta.url))
/** A minute of processor time, on a machine that may have other things to do. */
const DEADLINE_SECONDS = 600
const RULE_COLUMNS = [
  { key: 'hit', title: 'allowed ns' },
  { key: 'miss', title: 'denied, with its hint ns' },
  { key: 'compile', title: 'compiling all rules ms', digits: 1 },
]
const BODY_COLUMNS = [
  { key: 'bytes', title: 'bytes' },
  { key: 'judged', title: 'judging it µs', digits: 1 },
]
/** What is asked of it, drawn beside what it does. */
const WANTED = [
  { x: 10, ns: 2_000 },
  { x: 10_000, ns: 4_000 },
]

/** The JSON lines that a script prints. */
async function linesOf(lab, script, args) {
  const command = [process.execPath, script, ...args.map(String)]
  const { status, stdout, stderr } = await lab.run(command, {
    cpu: lab.cpus.proxy,
    uid: lab.uids.proxy,
    deadline: DEADLINE_SECONDS,
  })
  if (status !== 0) throw new Error(stderr)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

/** Two panels: what is allowed, what is denied. */
function picture(lines, machine) {
  const curves = (key) =>
    [...new Set(lines.map(({ mix }) => mix))].map((mix) => ({
      label: mix,
      points: lines.filter((line) => line.mix === mix).map((line) => ({ x: line.count, y: line[key].median / 1e3 })),
    }))
  return plot({
    title: 'Cost of one decision against the number of rules, µs (less is better)',
    note: machine,
    xTitle: 'rules',
    panels: [
      { title: 'allowed', curves: curves('hit') },
      { title: 'denied, with its hint', curves: curves('miss') },
    ],
    wanted: WANTED.map(({ x, ns }) => ({ x, y: ns / 1e3 })),
  })
}

export const measure = {
  name: 'decide',
  title: 'Decisions against the number of rules',
  rounds: ({ quick }) => (quick ? 3 : 9),
  async run(lab, peers, { quick, machine }) {
    if (!peers.some(isOurs)) return { tables: [] }
    const args = [this.rounds({ quick }), quick ? 20 : 100]
    const lines = await linesOf(lab, RULES, args)
    const rules = lines.map(({ mix, count, compileMs: compile, hit, miss }) => {
      const label = `${mix}, ${count.toLocaleString('en-US')} rules`
      return { name: label, label, cells: { hit, miss, compile } }
    })
    const bodies = (await linesOf(lab, BODIES, args)).map(({ name, bytes, judged }) => ({
      name,
      label: name,
      cells: { bytes, judged },
    }))
    const aboutRules =
      'Processor time of one decision by itself, over requests spread over up to 1,000 of the rules; the same for requests that no rule allows or that one denies'
    const aboutBodies =
      'Processor time. By a rule with four conditions of JSON and three of forms, one of them on every element of a list'
    return {
      tables: [
        { key: 'decide', title: 'Decisions', note: aboutRules, columns: RULE_COLUMNS, rows: rules },
        { key: 'bodies', title: 'Bodies', note: aboutBodies, columns: BODY_COLUMNS, rows: bodies },
      ],
      pictures: { 'policy-cost': picture(lines, machine) },
    }
  },
}
