// What holds where a configuration says nothing, as it would be written; `effective.ts` fills the same in, and a test compares the two.

/** Every member with a default that does not hang on another. `listen` is taken whole: a file that names one door gets no other. */
export const DEFAULTS: Readonly<Record<string, unknown>> = {
  mode: 'enforce',
  listen: {
    proxy: ['127.0.0.1:3128'],
    transparent: ['127.0.0.1:15001', '[::1]:15001'],
    admin: ['127.0.0.1:9901'],
  },
  ca: { directory: 'certs' },
  upstream: { trust: ['system'], deny: ['metadata', 'loopback', 'link-local', 'private'] },
  audit: {
    path: 'logs/audit.jsonl',
    durability: 'os',
    rotate: { size: '256MiB', age: '24h' },
    compress: true,
    body_prefix: '1KiB',
    checkpoints: { every: '60s', records: 1_000, sign: true },
  },
  shutdown: { grace: '8s' },
}
