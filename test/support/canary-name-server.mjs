// A name server that tells of every question it is asked and answers each with one address: ADDRESS HOST PORT.
import { createSocket } from 'node:dgram'

const [answer = '', host = '127.0.0.1', port = '53'] = process.argv.slice(2)
const socket = createSocket('udp4')
socket.on('message', (query, peer) => {
  const labels = []
  let at = 12
  for (; query[at] > 0; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]))
  const question = query.subarray(12, at + 5)
  const type = question.readUInt16BE(question.length - 4)
  process.stdout.write(`${JSON.stringify({ name: labels.join('.'), type })}\n`)
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, ...answer.split('.').map(Number)])
  const header = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, type === 1 ? 1 : 0, 0, 0, 0, 0])
  socket.send(Buffer.concat([header, question, ...(type === 1 ? [record] : [])]), peer.port, peer.address)
})
socket.bind(Number(port), host, () => process.stdout.write('ready\n'))
