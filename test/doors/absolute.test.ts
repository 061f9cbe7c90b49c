// The shared suite with absolute-form requests, which know plain HTTP only.

import { doorSuite } from './suite.ts'

doorSuite({ door: 'absolute', tls: false })
