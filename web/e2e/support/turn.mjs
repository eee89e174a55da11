/** A TURN server: coturn, as docs/operations.md has it set up. */
import { execFileSync, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder } from './server.mjs';
import { until } from './wait.mjs';

const PORT = 3478;
const TLS_PORT = 5349;

/** Why there can be none here, or `null`. */
export function whyNoTurn() {
  try {
    execFileSync('turnserver', ['--version'], { stdio: 'ignore' });
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return null;
  } catch (error) {
    return `a TURN server needs coturn and openssl: ${error.message}`;
  }
}

const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export class Turn {
  secret = 'a secret of two servers';
  #address;
  #folder = temporaryFolder();
  #child;
  #said = '';

  /** At this address, and relaying to that one alone. */
  constructor(address, peer) {
    this.#address = address;
    const [cert, pkey] = ['cert.pem', 'key.pem'].map((name) => join(this.#folder, name));
    const made = ['-newkey', 'rsa:2048', '-nodes', '-keyout', pkey, '-out', cert];
    const names = ['-subj', '/CN=turn', '-addext', `subjectAltName=IP:${address}`];
    execFileSync('openssl', ['req', '-x509', '-days', '2', ...made, ...names], { stdio: 'ignore' });
    const options = {
      'listening-ip': address,
      'listening-port': PORT,
      'tls-listening-port': TLS_PORT,
      cert,
      pkey,
      'relay-ip': address,
      'static-auth-secret': this.secret,
      realm: 'buildspaces',
      'denied-peer-ip': '0.0.0.0-255.255.255.255',
      'allowed-peer-ip': peer,
      'log-file': 'stdout',
      pidfile: join(this.#folder, 'pid'),
      userdb: join(this.#folder, 'users'),
    };
    const flags = ['-n', '--use-auth-secret', '--no-dtls', '--no-cli'];
    const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    this.#child = spawn('turnserver', [...flags, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(this.#child);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.on('data', (text) => {
        this.#said += text;
      });
  }

  async ready() {
    await until('coturn to listen', async () => {
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#said.slice(-500)}`);
      await new Promise((done, fail) => {
        const socket = connect(TLS_PORT, this.#address, () => done(socket.destroy()));
        socket.once('error', fail);
      });
      return true;
    });
    return this;
  }

  /** As `media.ice_servers` names it. */
  url(transport) {
    if (transport === 'tls') return `turns:${this.#address}:${TLS_PORT}?transport=tcp`;
    return `turn:${this.#address}:${PORT}?transport=${transport}`;
  }

  destroy() {
    this.#child.kill('SIGKILL');
    children.delete(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
