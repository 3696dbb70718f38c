// Prints one line a problem: what the official parser reports of asyncapi.json, and which golden example breaks its schema.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
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

const folders = readdirSync(contracts).filter(name => existsSync(join(contracts, name, 'schemas')))
const files = kind => folders.flatMap(folder =>
  readdirSync(join(contracts, folder, kind)).filter(name => name.endsWith('.json')).map(name => [folder, kind, name]))
const ajv = formats(new Ajv2020({ strict: false, allErrors: true }))
const validators = {}
for (const path of files('schemas'))
  validators[path[2].slice(0, -'.json'.length)] = ajv.compile(JSON.parse(text(...path)))
let examples = 0
for (const path of files('examples')) {
  const { kind, given, body } = JSON.parse(text(...path))
  for (const data of [given, JSON.parse(body)])
    if (!validators[kind](data))
      console.log(JSON.stringify({ severity: 'error', at: path[2], message: ajv.errorsText(validators[kind].errors) }))
  examples += 1
}
const channels = document?.allChannels().all() ?? []
console.log(JSON.stringify({
  severity: 'read',
  version: document?.version(),
  channels: channels.map(channel => channel.id()),
  messages: document?.allMessages().all().map(message => message.name()),
  operations: document?.allOperations().all().length,
  schemas: Object.keys(validators).length,
  examples,
}))
