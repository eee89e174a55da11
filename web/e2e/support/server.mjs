/** Starts, stops and kills the real server. Every process is ended by the handle it was started with. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Api } from './api.mjs';
import { containersOf } from './docker.mjs';
import { PATIENCE_MS, until } from './wait.mjs';

const TARGET = process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/buildspaces/target');
const BINARY = process.env.BUILDSPACES_TEST_SERVER ?? join(TARGET, 'release/buildspaces');
const AGENT =
  process.env.BUILDSPACES_TEST_AGENT ??
  join(TARGET, 'agent/x86_64-unknown-linux-gnu/agent/buildspaces-sandbox-agent');

const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** A new folder below the system's own for such things. */
export function temporaryFolder() {
  return mkdtempSync(join(tmpdir(), 'buildspaces-e2e-'));
}

/** Runs the program with `args` and returns how it ended and what it said. */
export async function runProgram(args, environment = {}, ms = PATIENCE_MS) {
  const process_ = start(args, environment);
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(
      () => fail(new Error(`buildspaces ${args.join(' ')} did not end: ${process_.output()}`)),
      ms,
    );
  });
  try {
    const code = await Promise.race([process_.ended, late]);
    return { code, output: process_.output() };
  } finally {
    clearTimeout(timer);
    process_.child.kill('SIGKILL');
  }
}

function start(args, environment) {
  const { PATH, HOME, DOCKER_HOST, LANG } = process.env;
  const env = { PATH, HOME, LANG, DOCKER_HOST, BUILDSPACES_SANDBOX_AGENT: AGENT, ...environment };
  for (const key of Object.keys(env)) if (env[key] === undefined) delete env[key];
  const child = spawn(BINARY, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const ended = new Promise((done, fail) => {
    child.once('error', (error) => fail(new Error(`${BINARY} cannot be started: ${error.message}`)));
    child.once('close', (code, signal) => {
      children.delete(child);
      done(code ?? signal);
    });
  });
  // A caller that is not waiting now asks later.
  ended.catch(() => undefined);
  return { child, ended, output: () => text };
}

export class Server {
  /** The folder it keeps everything in; the same one after a restart. */
  data = temporaryFolder();
  /** Taken by the first start and kept, because browsers come back to the address they know. */
  port = 0;
  #process = null;
  #earlier = '';

  constructor(environment = {}) {
    this.environment = environment;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  get log() {
    return this.#earlier + (this.#process?.output() ?? '');
  }

  get instance() {
    const file = join(this.data, 'instance');
    return existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  }

  async start() {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--data', this.data];
    const process_ = start(args, this.environment);
    this.#process = process_;
    const ready = await until('the server to say where it is', () => {
      const found = /BuildSpaces is ready: http:\/\/127\.0\.0\.1:(\d+)\//.exec(process_.output());
      if (!found && process_.child.exitCode !== null) return { died: true };
      return found;
    });
    if (ready.died) throw new Error(`the server ended at its start: ${process_.output()}`);
    this.port = Number(ready[1]);
    return this;
  }

  /** Stops it as an operator does. Returns the exit code. */
  async stop() {
    return this.#end('SIGTERM');
  }

  /** `kill -9`: nothing in the server gets a chance to tidy up. */
  async kill() {
    return this.#end('SIGKILL');
  }

  get isRunning() {
    return this.#process !== null;
  }

  async #end(signal) {
    const process_ = this.#process;
    if (!process_) return 0;
    process_.child.kill(signal);
    let timer;
    const late = new Promise((done) => {
      timer = setTimeout(() => {
        process_.child.kill('SIGKILL');
        done('it did not end in time');
      }, PATIENCE_MS);
    });
    const code = await Promise.race([process_.ended, late]);
    clearTimeout(timer);
    this.#earlier += `${process_.output()}\n--- ended by ${signal}: ${code}\n`;
    this.#process = null;
    return code;
  }

  /** Ids of rooms' containers. Others wait for a room, or are about to be removed. */
  async containers() {
    const isRooms = ({ place }) =>
      !place.startsWith('warm.') || existsSync(join(this.data, 'sandboxes', place, 'claim.json'));
    return (await containersOf(this.instance)).filter(isRooms).map(({ id }) => id);
  }

  async everyContainer() {
    return (await containersOf(this.instance)).map(({ id }) => id);
  }

  /** A person without a browser. */
  person(name) {
    return Api.signIn(this.url, name);
  }

  /** Call it after the end. */
  removeData() {
    rmSync(this.data, { recursive: true, force: true });
  }
}
