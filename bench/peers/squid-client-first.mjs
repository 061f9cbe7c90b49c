// Squid that bumps at the CONNECT, before it knows the origin: cheaper, and possible only where the client asks by CONNECT.
import { squid } from './squid.mjs'

export const peer = squid({
  name: 'squid-client-first',
  label: 'Squid, client first',
  doors: ['connect'],
  bump: '# At the first step, so without the SNI and without the certificate of the origin.\nssl_bump bump all',
})
