// Stands in for api.postmarkapp.com on this machine: takes mail over TLS, remembers it, and sends none.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:https'
import forge from 'node-forge'

export const NAME = 'api.postmarkapp.com'

const DAY_MS = 86_400_000

/** A certificate that vouches for itself; whoever names it as trusted believes that this is Postmark. */
function selfSigned() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' })
  const key = forge.pki.privateKeyFromPem(pem)
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.setRsaPublicKey(key.n, key.e)
  certificate.serialNumber = '01'
  certificate.validity.notBefore = new Date(Date.now() - DAY_MS)
  certificate.validity.notAfter = new Date(Date.now() + DAY_MS)
  const subject = [{ shortName: 'CN', value: NAME }]
  certificate.setSubject(subject)
  certificate.setIssuer(subject)
  certificate.setExtensions([{ name: 'subjectAltName', altNames: [{ type: 2, value: NAME }] }])
  certificate.sign(key, forge.md.sha256.create())
  return { key: pem, cert: forge.pki.certificateToPem(certificate) }
}

async function bodyOf(request) {
  let text = ''
  for await (const part of request) text += part
  return JSON.parse(text)
}

/** `mails`: what has come in so far, oldest first. */
export async function startPostmark() {
  const { key, cert } = selfSigned()
  const mails = []
  const take = async (request, response) => {
    mails.push(await bodyOf(request))
    response.writeHead(200, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify({ ErrorCode: 0, Message: 'OK' }))
  }
  const server = createServer({ key, cert }, (request, response) => void take(request, response))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  return { port: server.address().port, certificate: cert, mails, close }
}
