// A real, certified authorization server (npm oidc-provider) on a free loopback port, for the tests.
//
//   node server.mjs [--access-ttl SECONDS] [--device-ttl SECONDS] [--no-rotate] [--lenient-offline]
//
// Prints `READY <issuer>` once it listens, and ends when its standard input does, so that a test that dies
// leaves nothing behind. Its public native client is `tokensink`: PKCE S256, loopback redirects on any port.
// Beside the protocol: GET /__counters, POST /__reset, POST /__config {"delayMs":N,"fail":[503,…],"dropAfter":N}.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Provider } from 'oidc-provider';

console.info = console.error; // the library talks, and nobody reads standard output after the first line

const args = process.argv.slice(2);
const flag = (name) => args.includes(`--${name}`);
const option = (name, fallback) => (flag(name) ? args[args.indexOf(`--${name}`) + 1] : fallback);

const accessTtl = Number(option('access-ttl', 60));
const deviceTtl = Number(option('device-ttl', 600));
const day = 86_400;

// The issuer's name holds its port, so listen first and build the provider afterwards.
let handle;
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'tokensink',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/auth/callback', 'http://localhost/auth/callback', 'http://[::1]/auth/callback'],
    },
  ],
  jwks: { keys: [{ ...signingKey, use: 'sig', alg: 'RS256', kid: 'k1' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes: ['openid', 'profile', 'email', 'offline_access'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: false, // the e-mail stands in the ID token, as with the providers we serve
  pkce: { required: () => true },
  rotateRefreshToken: !flag('no-rotate'),
  // OIDC Core 11: without this, offline_access is dropped unless the request asks for consent.
  ...(flag('lenient-offline') && {
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  }),
  expiresWithSession: async () => false,
  ttl: {
    AccessToken: accessTtl, AuthorizationCode: 60, IdToken: accessTtl, RefreshToken: day, Grant: day, Session: day,
    Interaction: 600, DeviceCode: deviceTtl,
  },
  features: {
    devInteractions: { enabled: true }, deviceFlow: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true },
  },
  async findAccount(_context, sub) {
    return {
      accountId: sub,
      claims: async () => ({ sub, name: `User ${sub}`, email: `${sub}@example.test`, email_verified: true }),
    };
  },
  async renderError(context, out) {
    context.type = 'json';
    context.body = out;
  },
});

const fresh = () => ({ success: {}, error: {}, grants_revoked: 0, token_requests: 0, token_inflight_max: 0, injected: 0 });
const settings = { delayMs: 0, fail: [], dropAfter: 0 };
let counters = fresh();
let inflight = 0;
const bump = (table, key) => { table[key] = (table[key] ?? 0) + 1; };
provider.on('grant.success', (context) => bump(counters.success, context.oidc.params.grant_type));
provider.on('grant.error', (context, error) => bump(counters.error, `${context.oidc?.params?.grant_type}:${error.error}`));
provider.on('grant.revoked', () => { counters.grants_revoked += 1; });
provider.on('server_error', (_context, error) => console.error('server_error', error.stack));

const answer = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};
const bodyOf = async (request) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
};
const protocol = provider.callback();

handle = async (request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/__counters') return answer(response, 200, counters);
  if (path === '/__reset') { counters = fresh(); return answer(response, 200, {}); }
  if (path === '/__config') {
    Object.assign(settings, JSON.parse(await bodyOf(request)));
    return answer(response, 200, settings);
  }
  if (path !== '/token') return protocol(request, response);

  counters.token_requests += 1;
  inflight += 1;
  counters.token_inflight_max = Math.max(counters.token_inflight_max, inflight);
  response.on('close', () => { inflight -= 1; });
  if (settings.delayMs) await new Promise((done) => { setTimeout(done, settings.delayMs); });
  if (settings.fail.length) {
    counters.injected += 1;
    request.resume();
    return answer(response, settings.fail.shift(), { error: 'temporarily_unavailable' });
  }
  if (settings.dropAfter > 0) { // the grant is carried out, its answer is lost
    settings.dropAfter -= 1;
    counters.injected += 1;
    response.end = () => { response.socket?.destroy(); return response; };
  }
  return protocol(request, response);
};

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
console.log(`READY ${issuer}`);
