/** pycrdt's client in the shape that `providers.mjs` gives to the others. It lives in a process of Python; what is known of it here is what it said last. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from './wait.mjs';

const CACHE = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
export const PYTHON = process.env.BUILDSPACES_TEST_PYTHON ?? join(CACHE, 'buildspaces/python/bin/python');
const SCRIPT = fileURLToPath(new URL('./pycrdt_clients.py', import.meta.url));

/** One process for all clients of a scenario. */
export class Pycrdt {
  #child;
  #said = new Map();
  #next = 0;
  #errors = '';

  constructor(stage) {
    assert.ok(existsSync(PYTHON), `${PYTHON} is missing: run scripts/setup --test`);
    this.#child = spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#errors += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const said = JSON.parse(line);
      this.#said.set(said.id, said);
    });
    stage.own({ destroy: () => this.#child.kill('SIGKILL') });
  }

  async open(server, name) {
    const id = this.#next++;
    const tell = (what) => {
      if (this.#child.exitCode !== null) throw new Error(`pycrdt's process ended: ${this.#errors}`);
      this.#child.stdin.write(`${JSON.stringify({ id, ...what })}\n`);
    };
    const said = () => this.#said.get(id) ?? { text: '', synced: false, vector: '' };
    tell({ do: 'open', url: `${server.url.replace(/^http/, 'ws')}/yjs/${encodeURIComponent(name)}` });
    await until(
      'pycrdt to be in sync',
      () => said().synced || (this.#errors && Promise.reject(this.#errors)),
    );
    return {
      kind: 'pycrdt',
      text: {
        get length() {
          return said().text.length;
        },
        insert: (at, text) => tell({ do: 'insert', at, text }),
        delete: (at) => tell({ do: 'delete', at }),
        toString: () => said().text,
      },
      isSynced: () => said().synced,
      encodeStateVector: () => Buffer.from(said().vector, 'base64'),
      connect: () => tell({ do: 'connect' }),
      disconnect: () => tell({ do: 'disconnect' }),
      cut: () => tell({ do: 'cut' }),
      destroy: () => tell({ do: 'close' }),
    };
  }
}
