// The known formats of issued secrets: what each is called, what it looks like, and every literal that it begins with.

/**
 * `name`: what `secrets:` calls it; null: too many things look like it, so it is only redacted. `begins`: one of these stands at its start,
 * each of three characters or more. `source`: a regular expression. `folded`: the same for names that have lost their case, null
 * where too many of those look like it.
 */
export interface TokenFormat {
  readonly name: string | null
  readonly source: string
  readonly folded: string | null
  readonly begins: readonly string[]
}

const format = (name: string | null, source: string, folded: string | null, begins: string): TokenFormat => ({
  name,
  source,
  folded,
  begins: begins === '' ? [] : begins.split(' '),
})

const spread = (before: string, units: string): string => Array.from(units, (unit) => before + unit).join(' ')

// Linear by construction: each form starts with a literal, quantifiers in its middle are bounded and disjoint from what
// follows, and the unbounded class stands last, so a match is consumed whole and a failure costs a constant.
// Folded forms are narrower: `asiapacificsoutheast` and `pypi-mirror` are hosts.
export const TOKEN_FORMATS: readonly TokenFormat[] = [
  format('github_token', 'gh[opsur]_[\\w-]{16,}', 'gh[opsur]_[\\w-]{16,}', 'ghp_ gho_ ghs_ ghu_ ghr_'),
  format('github_token', 'github_pat_\\w{16,}', 'github_pat_\\w{16,}', 'github_pat_'),
  format('slack_token', 'xox[a-z](?:\\.xox[a-z])?-[\\w-]{8,}', 'xox[a-z]-[\\w-]{8,}', 'xox'),
  format('slack_token', 'xapp-[\\w-]{8,}', 'xapp-\\d-[\\w-]{8,}', 'xapp-'),
  format(
    'stripe_key',
    '[prs]k_(?:live|test)_\\w{8,}',
    '[prs]k_(?:live|test)_\\w{8,}',
    'pk_live_ rk_live_ sk_live_ pk_test_ rk_test_ sk_test_',
  ),
  format('webhook_secret', 'whsec_[\\w+/=-]{8,}', null, 'whsec_'),
  format(
    'aws_access_key',
    'A(?:KIA|SIA)[A-Z0-9]{16,}',
    '(?<![a-z0-9])a(?:kia|sia)(?=[a-z]{0,15}[2-7])[a-z2-7]{16}(?![a-z0-9])',
    'AKIA ASIA',
  ),
  format('anthropic_key', 'sk-ant-[\\w-]{8,}', 'sk-ant-[\\w-]{8,}', 'sk-ant-'),
  format(
    'openai_key',
    'sk-(?:proj|svcacct|admin)-[\\w-]{8,}',
    'sk-(?:proj|svcacct|admin)-[\\w-]{8,}',
    'sk-proj- sk-svcacct- sk-admin-',
  ),
  // `task-force-…` is no key: after a letter or digit only the older form counts, which has no hyphen inside.
  format('openai_key', 'sk-[A-Za-z0-9]{32,}', null, 'sk-'),
  format(
    'openai_key',
    '(?<![A-Za-z0-9])sk-(?!ant-)[\\w-]{20,}',
    '(?<![a-z0-9])sk-(?!ant-)(?=[a-z_-]{0,60}\\d)[\\w-]{20,}',
    'sk-',
  ),
  format('google_api_key', 'AIza[\\w-]{30,}', 'aiza(?=[a-z_-]{0,60}\\d)[\\w-]{30,}', 'AIza'),
  format('google_oauth_token', 'ya29\\.[\\w.-]{8,}', 'ya29\\.(?=[a-z_-]{0,60}\\d)[\\w-]{16,}', 'ya29.'),
  format('google_client_secret', 'GOCSPX-[\\w-]{16,}', 'gocspx-[\\w-]{16,}', 'GOCSPX-'),
  format('sendgrid_key', 'SG\\.[\\w.-]{32,}', 'sg\\.[\\w-]{22}\\.[\\w-]{43}', 'SG.'),
  format('npm_token', 'npm_[A-Za-z0-9]{16,}', 'npm_[a-z0-9]{16,}', 'npm_'),
  format('pypi_token', 'pypi-[\\w-]{16,}', 'pypi-ag[\\w-]{16,}', 'pypi-'),
  format('huggingface_token', 'hf_[A-Za-z0-9]{16,}', 'hf_[a-z0-9]{16,}', 'hf_'),
  format(
    'gitlab_token',
    'gl(?:pat|ptt|dt|rt|soat|cbt|oas|ft|imt|agent)-[\\w.-]{16,}',
    'gl(?:pat|ptt|dt|rt|soat)-[\\w-]{16,}',
    'glpat- glptt- gldt- glrt- glsoat- glcbt- gloas- glft- glimt- glagent-',
  ),
  format(
    'twilio_key',
    '(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![0-9A-Za-z])',
    '(?<![a-z0-9])sk[0-9a-f]{32}(?![a-z0-9])',
    spread('SK', '0123456789abcdef'),
  ),
  format('brave_key', '(?<![A-Za-z0-9])BSA[\\w-]{24,}', '(?<![a-z0-9])bsa(?=[a-z_-]{0,60}\\d)[\\w-]{24,}', 'BSA'),
  format('groq_key', '(?<![A-Za-z0-9])gsk_[\\w-]{24,}', null, 'gsk_'),
  format('notion_token', '(?<![A-Za-z0-9])ntn_[\\w-]{24,}', null, 'ntn_'),
  format('replicate_token', '(?<![A-Za-z0-9])r8_[\\w-]{24,}', null, 'r8_'),
  format('xai_key', '(?<![A-Za-z0-9])xai-[\\w-]{24,}', null, 'xai-'),
  format('perplexity_key', '(?<![A-Za-z0-9])pplx-[\\w-]{24,}', null, 'pplx-'),
  format('tavily_key', '(?<![A-Za-z0-9])tvly-[\\w-]{24,}', null, 'tvly-'),
  format('figma_token', 'figd_[\\w-]{24,}', null, 'figd_'),
  format('linear_key', 'lin_api_[\\w-]{24,}', null, 'lin_api_'),
  format('digitalocean_token', 'dop_v1_[\\w-]{24,}', null, 'dop_v1_'),
  format('shopify_token', 'shp(?:at|ss)_[\\w-]{24,}', null, 'shpat_ shpss_'),
  // The first group stays: the bot's number, the workspace, the scheme.
  format('telegram_bot_token', '(bot\\d{5,20}:)[\\w-]{8,}', null, spread('bot', '0123456789')),
  format('telegram_bot_token', '(?<=\\d{6}:)AA[\\w-]{30,}', null, ':AA'),
  format('slack_webhook', '(services/T[A-Za-z0-9]{1,20}/B[A-Za-z0-9]{1,20}/)[\\w-]{8,}', null, 'services/T'),
  format(null, '([Bb][Ee][Aa][Rr][Ee][Rr][ \\t+]{1,4}|[Bb][Aa][Ss][Ii][Cc][ \\t+]{1,4})[\\w.~+/=-]{8,}', null, ''),
  // How a browser gives credentials to a WebSocket of Kubernetes.
  format(null, '(base64url\\.bearer\\.authorization\\.k8s\\.io\\.)[\\w-]{8,}', null, ''),
]

/** What begins it says all: none of it has to be seen to the end. */
export const PRIVATE_KEY: TokenFormat = format(
  'private_key',
  '-----BEGIN [A-Z0-9 +]{0,40}PRIVATE[ +]KEY',
  null,
  '-----BEGIN',
)

/**
 * RFC 7515: the header that begins with one of its usual members (alg, typ, kid, enc, cty, x5t), and what is signed. Narrower than what
 * is redacted: what has this form is not let out.
 */
export const JSON_WEB_TOKEN: TokenFormat = format(
  'json_web_token',
  'eyJ(?:hbGciOi|0eXAiOi|raWQiOi|lbmMiOi|jdHkiOi|4NXQiOi)[\\w-]{8,512}\\.[\\w-]{8,}',
  // {"alg": {"typ": {"kid": and the labels behind it that are too long for a host's.
  'eyj(?:hbgcioi|0exaioi|rawqioi)[\\w-]{8,}(?:\\.[\\w-]{24,}){0,2}',
  'eyJhbGciOi eyJ0eXAiOi eyJraWQiOi eyJlbmMiOi eyJjdHkiOi eyJ4NXQiOi',
)

/** Every format that has a name. */
export const NAMED_FORMATS: readonly (TokenFormat & { readonly name: string })[] = [
  ...TOKEN_FORMATS,
  PRIVATE_KEY,
  JSON_WEB_TOKEN,
].filter((each): each is TokenFormat & { readonly name: string } => each.name !== null)

/** In the order of the list, each once. */
export const FORMAT_NAMES: readonly string[] = [...new Set(NAMED_FORMATS.map(({ name }) => name))]
