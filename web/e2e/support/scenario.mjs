/**
 * One test with everything it starts: servers, people, clients. Whatever happens, all of it is stopped, the servers' containers
 * are gone, and after a failure the pages' pictures and the servers' logs lie in a folder whose path is printed.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { launch, Person } from './browser.mjs';
import { Client } from './clients.mjs';
import { removeContainers } from './docker.mjs';
import { Server, temporaryFolder } from './server.mjs';

/** A scenario that takes longer than this hangs. */
const LONGEST_MS = 150_000;

export function scenario(name, body, { ms = LONGEST_MS, skip = null } = {}) {
  test(name, { timeout: ms + 60_000, skip: skip ?? false }, async (t) => {
    const stage = new Stage();
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`the scenario took longer than ${ms} ms`)), ms);
    });
    try {
      await Promise.race([body(stage, t), late]);
      await stage.clear();
    } catch (error) {
      await stage.keepEvidence(name).catch((problem) => t.diagnostic(`no evidence: ${problem.message}`));
      await stage.clear().catch((problem) => t.diagnostic(problem.message));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  });
}

export class Stage {
  #servers = [];
  #people = [];
  #clients = [];
  /** The first is the one that most people use. */
  #browsers = [null];

  /** A running server with a data folder of its own. */
  async server(environment = {}) {
    const server = new Server(environment);
    this.#servers.push(server);
    return server.start();
  }

  /** With a `line` in a browser of their own, at its end. */
  async person(name, { line, ...options } = {}) {
    if (!line) this.#browsers[0] ??= await launch();
    const browser = line ? await launch(line) : this.#browsers[0];
    if (line) this.#browsers.push(browser);
    const person = await Person.arrive(browser, name, options);
    this.#people.push(person);
    return person;
  }

  client(url, name, api, options) {
    const client = new Client(url, name, api, options);
    this.#clients.push(client);
    return client;
  }

  /** Something with `destroy()` that must not outlive the scenario. */
  own(thing) {
    this.#clients.push(thing);
    return thing;
  }

  async keepEvidence(name) {
    const folder = temporaryFolder();
    const path = (file) => join(folder, file.replaceAll(/[^\w.-]+/g, '-'));
    for (const { name: who, page, problems } of this.#people) {
      await page.screenshot({ path: path(`${who}.png`), timeout: 10_000 }).catch(() => undefined);
      if (problems.length > 0) await writeFile(path(`${who}.errors.txt`), problems.join('\n'));
    }
    for (const [index, server] of this.#servers.entries())
      await writeFile(path(`server-${index}.log`), server.log);
    process.stdout.write(`# what "${name}" looked like when it failed: ${folder}\n`);
  }

  async clear() {
    for (const person of this.#people) await person.leave().catch(() => undefined);
    for (const browser of this.#browsers) await browser?.close();
    for (const client of this.#clients) client.destroy();
    const left = [];
    for (const server of this.#servers) {
      const wasKilled = !server.isRunning;
      const code = await server.stop();
      if (code !== 0)
        left.push(`the server ended with ${code} when it was told to stop: ${server.log.slice(-2000)}`);
      const containers = await server.everyContainer();
      // One that was killed leaves to its next start what waited for a room.
      const wrong = wasKilled ? await server.containers() : containers;
      if (wrong.length > 0) left.push(`containers were left behind: ${wrong.join(', ')}`);
      if (containers.length > 0) await removeContainers(containers);
      server.removeData();
    }
    assert.deepEqual(left, []);
  }
}
