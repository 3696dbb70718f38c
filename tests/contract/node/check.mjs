// Prints one line a problem: what the official parser says of asyncapi.json, and which golden is not of its schema.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Parser } from '@asyncapi/parser'
import Ajv2020 from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

const contracts = process.argv[2]
const text = (...path) => readFileSync(join(contracts, ...path), 'utf8')
const { document, diagnostics } = await new Parser().parse(text('asyncapi.json'))
const severities = ['error', 'warning', 'information', 'hint']
for (const { severity, path, message } of diagnostics)
  console.log(JSON.stringify({ severity: severities[severity], at: path.join('.'), message }))

const ajv = formats(new Ajv2020({ strict: false, allErrors: true }))
const validators = {}
for (const file of readdirSync(join(contracts, 'schemas')))
  validators[file.slice(0, -'.json'.length)] = ajv.compile(JSON.parse(text('schemas', file)))
for (const file of readdirSync(join(contracts, 'examples')).filter(name => name.endsWith('.json'))) {
  const { kind, given, body } = JSON.parse(text('examples', file))
  for (const data of [given, JSON.parse(body)])
    if (!validators[kind](data))
      console.log(JSON.stringify({ severity: 'error', at: file, message: ajv.errorsText(validators[kind].errors) }))
}
const channels = document?.allChannels().all() ?? []
console.log(JSON.stringify({
  severity: 'read',
  version: document?.version(),
  channels: channels.map(channel => channel.id()),
  messages: document?.allMessages().all().map(message => message.name()),
  operations: document?.allOperations().all().length,
}))
