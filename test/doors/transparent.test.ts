// The shared suite through the transparent door.

import { doorSuite } from './suite.ts'

doorSuite({ door: 'transparent', tls: true })
doorSuite({ door: 'transparent', tls: false })
