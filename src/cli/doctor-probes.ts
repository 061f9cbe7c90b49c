// How each runtime is made to fetch one URL as its programs would: one table, no logic.

/** What `mcp-egress ca env` would hand out, as absolute paths. */
export interface CaFiles {
  readonly ca: string
  readonly bundle: string
}

export interface Probe {
  readonly runtime: string
  /** The first of these that is on PATH. */
  readonly programs: readonly string[]
  /** Null: there is no way to try it; `note` says why. */
  readonly args: ((url: string) => readonly string[]) | null
  readonly note?: string
  readonly input?: (url: string) => string
  /** Variables it needs to leave nothing behind and ask nothing, never ones about trust. */
  readonly environment?: (scratch: string, url: string) => Readonly<Record<string, string>>
  readonly slow?: true
  /** The variable of `ca env` that it reads; null: none. */
  readonly variable: string | null
  /** What to do where that variable does not help. */
  readonly fix?: (files: CaFiles) => string
  /** What makes it verify nothing: variables, and in words what to do where none of them is set. */
  readonly switches?: readonly string[]
  readonly settings?: string
}

/** A script ends with it when the library it is about is not there. */
export const ABSENT = 77

/** Seconds, for programs that would wait longer than the probe does. */
const PATIENCE = 8

const python = (module: string, fetch: string): string =>
  `import sys
try:
    import ${module}
except ImportError:
    sys.exit(${ABSENT})
${fetch}`

const URLLIB = `import urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=${PATIENCE}).status)`

const AIOHTTP = `import asyncio
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get(sys.argv[1]) as answer:
            print(answer.status)
asyncio.run(main())`

const NODE = `require('node:https').get(process.argv[1], (answer) => {
  console.log(answer.statusCode)
  answer.resume()
}).on('error', (error) => {
  console.error(error.message)
  process.exitCode = 1
})`

const fetchOf = (url: string): string => `console.log((await fetch(${JSON.stringify(url)})).status)`

const PHP = `if (!extension_loaded("openssl")) exit(${ABSENT});
file_get_contents($argv[1], false, stream_context_create(["http" => ["ignore_errors" => true]]));
echo $http_response_header[0] ?? "", "\\n";`

const PHP_CURL = `if (!extension_loaded("curl")) exit(${ABSENT});
$handle = curl_init($argv[1]);
curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
curl_exec($handle);
echo curl_getinfo($handle, CURLINFO_RESPONSE_CODE), " ", curl_error($handle), "\\n";`

const HTTP_TINY = `eval { require HTTP::Tiny; HTTP::Tiny->can_ssl } or exit ${ABSENT};
my $answer = HTTP::Tiny->new(timeout => ${PATIENCE})->get($ARGV[0]);
print "$answer->{status} $answer->{content}\\n";`

const LWP = `eval { require LWP::UserAgent; require LWP::Protocol::https; 1 } or exit ${ABSENT};
print LWP::UserAgent->new(timeout => ${PATIENCE})->get($ARGV[0])->status_line, "\\n";`

const PYTHON = { programs: ['python3', 'python'], variable: 'SSL_CERT_FILE' }

export const PROBES: readonly Probe[] = [
  {
    runtime: 'node',
    programs: ['node', 'nodejs'],
    args: (url) => ['-e', NODE, url],
    variable: 'NODE_EXTRA_CA_CERTS',
    switches: ['NODE_TLS_REJECT_UNAUTHORIZED'],
    settings: 'look at the code that NODE_OPTIONS loads',
  },
  {
    runtime: 'python',
    ...PYTHON,
    args: (url) => ['-c', python('ssl', URLLIB), url],
    switches: ['PYTHONHTTPSVERIFY'],
    settings: 'look for a sitecustomize module',
  },
  {
    runtime: 'requests',
    ...PYTHON,
    args: (url) => ['-c', python('requests', `print(requests.get(sys.argv[1], timeout=${PATIENCE}).status_code)`), url],
    variable: 'REQUESTS_CA_BUNDLE',
    settings: 'look for a sitecustomize module',
  },
  {
    runtime: 'httpx',
    ...PYTHON,
    args: (url) => ['-c', python('httpx', `print(httpx.get(sys.argv[1], timeout=${PATIENCE}).status_code)`), url],
    settings: 'look for a sitecustomize module',
  },
  {
    runtime: 'aiohttp',
    ...PYTHON,
    args: (url) => ['-c', python('aiohttp', AIOHTTP), url],
    settings: 'look for a sitecustomize module',
  },
  {
    runtime: 'java',
    // It comes with every Java runtime, compiles nothing, and fetches through the same HttpsURLConnection as programs do.
    programs: ['keytool'],
    args: (url) => ['-printcrl', '-file', url],
    slow: true,
    variable: 'JAVA_TOOL_OPTIONS',
    settings: 'look at JAVA_TOOL_OPTIONS',
  },
  {
    runtime: 'go',
    // The go command is a Go program that fetches with the roots of crypto/x509.
    programs: ['go'],
    args: () => ['mod', 'download', '-json', 'module.example/probe@v1.0.0'],
    environment: (scratch, url) => ({
      GOPROXY: url,
      GONOPROXY: 'none',
      GOSUMDB: 'off',
      GOPATH: scratch,
      GOMODCACHE: `${scratch}/mod`,
      GOFLAGS: '-modcacherw',
      GOTOOLCHAIN: 'local',
    }),
    variable: 'SSL_CERT_FILE',
  },
  {
    runtime: 'cargo',
    programs: ['cargo'],
    args: (url) => ['search', '--index', `sparse+${url}/`, 'probe'],
    environment: (scratch) => ({ CARGO_HOME: scratch }),
    variable: 'CARGO_HTTP_CAINFO',
  },
  {
    runtime: 'ruby',
    programs: ['ruby'],
    args: (url) => ['-rnet/http', '-e', 'puts Net::HTTP.get_response(URI(ARGV[0])).code', url],
    variable: 'SSL_CERT_FILE',
    settings: 'look at the code that RUBYOPT loads',
  },
  {
    runtime: 'php',
    programs: ['php'],
    args: (url) => ['-r', PHP, '--', url],
    variable: 'SSL_CERT_FILE',
    fix: ({ bundle }) => `set openssl.cafile=${bundle} in an ini file of a folder in PHP_INI_SCAN_DIR`,
    settings: 'look at auto_prepend_file and openssl.* in php.ini',
  },
  {
    runtime: 'php-curl',
    programs: ['php'],
    args: (url) => ['-r', PHP_CURL, '--', url],
    variable: null,
    fix: ({ bundle }) =>
      `set curl.cainfo=${bundle} in an ini file of a folder in PHP_INI_SCAN_DIR; no variable does it`,
    settings: 'look at auto_prepend_file and openssl.* in php.ini',
  },
  {
    runtime: 'perl',
    programs: ['perl'],
    args: (url) => ['-e', HTTP_TINY, url],
    variable: 'SSL_CERT_FILE',
    switches: ['PERL_HTTP_TINY_SSL_INSECURE_BY_DEFAULT'],
    settings: 'HTTP::Tiny before 0.083 verifies nothing unless told to: update it, or write verify_SSL => 1',
  },
  {
    runtime: 'lwp',
    programs: ['perl'],
    args: (url) => ['-e', LWP, url],
    variable: 'PERL_LWP_SSL_CA_FILE',
    switches: ['PERL_LWP_SSL_VERIFY_HOSTNAME'],
  },
  {
    runtime: 'curl',
    programs: ['curl'],
    args: (url) => ['-sS', '--max-time', String(PATIENCE), url],
    variable: 'CURL_CA_BUNDLE',
    settings: 'take `insecure` out of ~/.curlrc',
  },
  {
    runtime: 'wget',
    programs: ['wget'],
    // What GNU and BusyBox both know.
    args: (url) => ['-O', '-', url],
    variable: 'SSL_CERT_FILE',
    fix: ({ bundle }) =>
      `echo 'ca_certificate = ${bundle}' >> ~/.wgetrc (no variable does it where wget is built with GnuTLS)`,
    settings:
      'take `check_certificate = off` out of ~/.wgetrc; the wget of BusyBox verifies nothing: install GNU wget or curl',
  },
  {
    runtime: 'git',
    programs: ['git'],
    args: (url) => ['ls-remote', url],
    environment: () => ({ GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '', SSH_ASKPASS: '' }),
    variable: 'GIT_SSL_CAINFO',
    switches: ['GIT_SSL_NO_VERIFY'],
    settings: 'git config --global --unset-all http.sslVerify',
  },
  {
    runtime: 'openssl',
    programs: ['openssl'],
    args: (url) => {
      const { host, hostname } = new URL(url)
      const verify = ['-verify_return_error', '-verify_hostname', hostname]
      return ['s_client', '-quiet', ...verify, '-connect', host, '-servername', hostname]
    },
    input: (url) => `GET ${new URL(url).pathname} HTTP/1.0\r\n\r\n`,
    variable: 'SSL_CERT_FILE',
  },
  {
    runtime: 'deno',
    programs: ['deno'],
    args: (url) => ['eval', fetchOf(url)],
    environment: (scratch) => ({ DENO_DIR: scratch, DENO_NO_UPDATE_CHECK: '1' }),
    variable: 'DENO_CERT',
  },
  {
    runtime: 'bun',
    programs: ['bun'],
    args: (url) => ['-e', fetchOf(url)],
    variable: 'NODE_EXTRA_CA_CERTS',
    switches: ['NODE_TLS_REJECT_UNAUTHORIZED'],
  },
  {
    runtime: 'dotnet',
    programs: ['dotnet'],
    args: null,
    note: 'a program would have to be compiled; on Linux .NET reads SSL_CERT_FILE, which `ca env` sets',
    variable: 'SSL_CERT_FILE',
  },
]
