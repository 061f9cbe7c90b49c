import { it } from 'vitest'
import { judgeAddress, compileAddressPolicy } from '../../src/core/address-class.ts'
it('x', () => {
  const p = (compileAddressPolicy as any)({
    deny: ['metadata', 'loopback', 'link-local', 'private'],
    allow: ['127.0.0.0/8'],
  })
  for (const a of ['127.0.0.1', '93.184.216.34', '2606:2800:220:1:248:1893:25c8:1946']) {
    for (let r = 0; r < 3; r++) {
      const t = performance.now()
      for (let i = 0; i < 100000; i++) judgeAddress(p, a)
      console.log(a, (performance.now() - t) / 100, 'ns*10')
    }
  }
})
