#!/usr/bin/env node
// The command: one verb a file, wired together here and nowhere else.

import './early-signals.ts'
import { Command, CommanderError } from 'commander'
import { openAuthority } from '../tls/authority.ts'
import { authorityPaths } from '../tls/authority-files.ts'
import { auditCommand } from './audit.ts'
import { addAuditPrune } from './audit-prune.ts'
import { addAuditVerify } from './audit-verify.ts'
import { caCommand, type DirectoryOptions } from './ca.ts'
import { configCommand } from './config.ts'
import { doctorCommand } from './doctor.ts'
import { EXIT, ExitError } from './exit.ts'
import { explainCommand } from './explain.ts'
import { healthCommand } from './health.ts'
import { initCommand } from './init.ts'
import { iptablesCommand } from './iptables.ts'
import { learnCommand } from './learn.ts'
import { configOf } from './loaded.ts'
import { proxyCommand } from './proxy.ts'
import { replayCommand } from './replay.ts'
import { runCommand } from './run.ts'
import { testCommand } from './test-policy.ts'
import { validateConfigCommand } from './validate-config.ts'
import { addVerify, type VerifyTargets } from './verify.ts'
import { VERSION } from './version.ts'

function program(): Command {
  const root = new Command('mcp-egress')
    .description('Transparent egress inspection proxy for MCP servers')
    .version(VERSION)
    .showHelpAfterError()
    .enablePositionalOptions()
  const caDirectory = ({ config, directory }: DirectoryOptions): string => directory ?? configOf(config).caDirectory
  const iptables = iptablesCommand((file) => redirectTargets(file))
  addVerify(iptables, (file) => verifyTargets(file))
  const audit = auditCommand()
  addAuditVerify(audit)
  addAuditPrune(audit)
  const verbs = [
    proxyCommand(),
    runCommand(),
    initCommand((directory) => openAuthority(directory, new Date()).fingerprint256),
    validateConfigCommand(),
    explainCommand(),
    testCommand(),
    configCommand(),
    learnCommand(),
    replayCommand(),
    caCommand(caDirectory),
    iptables,
    audit,
    doctorCommand({ resolveDirectory: caDirectory, listeners: (file) => verifyTargets(file).listeners }),
    healthCommand(),
  ]
  for (const verb of verbs) root.addCommand(verb)
  for (const command of [root, ...verbs.flatMap((verb) => [verb, ...verb.commands])]) command.exitOverride()
  return root
}

function redirectTargets(file: string | undefined): ReturnType<Parameters<typeof iptablesCommand>[0]> {
  const { listen } = configOf(file)
  return {
    transparent: listen.transparent.flatMap((address) => (address.kind === 'tcp' ? [address] : [])),
    dns: listen.dns.flatMap((address) => (address.kind === 'tcp' ? [address] : [])),
    adminPorts: listen.admin.flatMap((address) => (address.kind === 'tcp' ? [address.port] : [])),
  }
}

function verifyTargets(file: string | undefined): VerifyTargets {
  const { listen, caDirectory } = configOf(file)
  const tcp = (door: keyof typeof listen) =>
    listen[door].flatMap((address) => (address.kind === 'tcp' ? [{ host: address.host, port: address.port }] : []))
  return {
    listeners: { transparent: tcp('transparent'), admin: tcp('admin'), dns: tcp('dns') },
    caFile: authorityPaths(caDirectory).ca,
  }
}

// A reader that has seen enough (`| head`) ends a verb in order; nobody at the other end of stderr must not end the proxy.
process.stdout.on('error', () => process.exit(EXIT.done))
process.stderr.on('error', () => undefined)

try {
  await program().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
  else if (error instanceof ExitError) {
    if (error.message !== '') process.stderr.write(`${error.message}\n`)
    process.exitCode = error.code
  } else {
    process.stderr.write(`mcp-egress: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = EXIT.failure
  }
}
