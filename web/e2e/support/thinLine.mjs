/**
 * A line to the server that takes only so much: a network namespace of its own at the other end of a virtual cable. What the server sends through it waits
 * in a queue of 400 ms, and what finds that full is lost, as on a slow line at home. Needs root.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const run = (program, ...args) => execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** Why there can be none here, or `null`. `besides`: one more program that it takes. */
export function whyNoThinLine(besides = 'ip') {
  if (process.getuid() !== 0) return 'a line of its own needs root';
  try {
    run('ip', 'netns', 'list');
    run('tc', '-V');
    run(besides, '-V');
    return null;
  } catch (error) {
    return `a line of its own needs ip, tc and ${besides}: ${error.message}`;
  }
}

/** How many of this process there were: what one that is gone was called may be in use until the system has cleared it away. */
let lines = 0;

export class ThinLine {
  /** The server's end, and the page's. */
  here = '';
  /** Where the page finds the server. */
  url = '';
  /** More of them for a browser at the other end. */
  flags = [];
  #name = `bs${process.pid}-${++lines}`;
  #folder = mkdtempSync(join(tmpdir(), 'buildspaces-line-'));
  #there = '';
  #server = null;
  /** What this machine drops of what comes from it. */
  #rule = null;
  #passed = new Set();

  constructor() {
    // One of 198.18.0.0/15, which is for measurements (RFC 2544).
    const net = `198.18.${(process.pid + lines) % 256}`;
    this.here = `${net}.1`;
    this.#there = `${net}.2`;
    const cable = ['link', 'add', `${this.#name}a`, 'type', 'veth', 'peer', 'name', `${this.#name}b`];
    run('ip', 'netns', 'add', this.#name);
    try {
      run('ip', ...cable);
      run('ip', 'link', 'set', `${this.#name}b`, 'netns', this.#name);
      run('ip', 'addr', 'add', `${this.here}/24`, 'dev', `${this.#name}a`);
      run('ip', 'addr', 'add', `${this.beyond}/32`, 'dev', `${this.#name}a`);
      run('ip', 'link', 'set', `${this.#name}a`, 'up');
      const there = ['-n', this.#name];
      run('ip', ...there, 'addr', 'add', `${this.#there}/24`, 'dev', `${this.#name}b`);
      run('ip', ...there, 'link', 'set', `${this.#name}b`, 'up');
      run('ip', ...there, 'link', 'set', 'lo', 'up');
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  /** The program that starts a browser at the other end. */
  get chromium() {
    const path = join(this.#folder, 'chromium');
    const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${this.#name} ${chromium} "$@"\n`, { mode: 0o755 });
    return path;
  }

  /** Another address of this machine at its end of the line, at which the page reaches it as well. */
  another() {
    const other = this.here.replace(/1$/, '4');
    run('ip', 'addr', 'add', `${other}/24`, 'dev', `${this.#name}a`);
    return other;
  }

  /** Another address of this machine, to which there is no way from the page. */
  get beyond() {
    return this.here.replace('198.18.', '198.19.');
  }

  /** From now on the server's packets to the page are no more than so many kilobits in a second. */
  takes(kilobits) {
    const shape = ['rate', `${kilobits}kbit`, 'burst', '4kb', 'latency', '400ms'];
    run('tc', 'qdisc', 'replace', 'dev', `${this.#name}a`, 'root', 'tbf', ...shape);
  }

  /** From now on this share of what comes by UDP does not come to the page, and as much of what the page sends not to the server. */
  loses(share) {
    const lost = [
      '-p',
      'udp',
      '-m',
      'statistic',
      '--mode',
      'random',
      '--probability',
      `${share}`,
      '-j',
      'DROP',
    ];
    run('ip', 'netns', 'exec', this.#name, 'iptables', '-A', 'INPUT', ...lost);
    // Where it arrives: what cannot be sent the page would know, and send again.
    this.#rule = ['INPUT', '-i', `${this.#name}a`, ...lost];
    run('iptables', '-A', ...this.#rule);
  }

  /** From now on nothing goes from the page to the server by UDP. */
  letsNoUdpPass() {
    run('ip', '-n', this.#name, 'rule', 'add', 'ipproto', 'udp', 'blackhole');
  }

  /** The page's end has another address, and what came from the one before comes no more, as on another network. */
  moves() {
    const there = ['-n', this.#name, 'addr'];
    const [from, to] = [`${this.#there}/24`, `${this.here.replace(/1$/, '3')}/24`];
    run('ip', ...there, 'del', from, 'dev', `${this.#name}b`);
    run('ip', ...there, 'add', to, 'dev', `${this.#name}b`);
  }

  /** Passes the server's port on to the other end; as the same one if its calls come there, too. */
  async passOn(port, { asIts = 0 } = {}) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      near.pipe(far).pipe(near);
      this.#passed.add(near);
      near.once('close', () => this.#passed.delete(near));
      for (const [one, other] of [
        [near, far],
        [far, near],
      ])
        one.on('error', () => other.destroy());
    });
    await new Promise((done, fail) => this.#server.once('error', fail).listen(asIts, this.here, done));
    this.url = `http://${this.here}:${this.#server.address().port}`;
  }

  destroy() {
    this.#server?.close();
    // Of an address that is gone nobody ends them.
    for (const near of this.#passed) near.destroy();
    if (this.#rule) run('iptables', '-D', ...this.#rule);
    for (const part of [
      ['link', 'delete', `${this.#name}a`],
      ['netns', 'delete', this.#name],
    ])
      try {
        run('ip', ...part);
      } catch {
        // It was never made.
      }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
