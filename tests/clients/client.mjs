// A request and its result, with kafkajs and nothing of ours: node client.mjs BROKERS "A question?"
import { randomUUID } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'

const [brokers, text] = process.argv.slice(2)
const id = randomUUID()
const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
const results = kafka.consumer({ groupId: id, maxWaitTimeInMs: 100 })
await results.subscribe({ topic: 'results' })
const answered = new Promise(resolve => results.run({ eachMessage: async ({ message }) => {
  if (message.key?.toString() === id) resolve({ type: message.headers.ce_type.toString(), ...JSON.parse(message.value) })
} }))
await new Promise(resolve => results.on('consumer.fetch', resolve)) // from here on

const producer = kafka.producer()
await producer.connect()
const headers = { ce_specversion: '1.0', ce_id: id, ce_source: '/node', ce_type: 'hansard.requests.submit.v1' }
await producer.send({ topic: 'requests', messages: [{ key: id, headers, value: JSON.stringify({ text }) }] })
console.log(JSON.stringify(await answered, null, 2))
await Promise.all([producer.disconnect(), results.disconnect()])
