// The shared suite through the connect door.

import { doorSuite } from './suite.ts'

doorSuite({ door: 'connect', tls: true })
doorSuite({ door: 'connect', tls: false })
