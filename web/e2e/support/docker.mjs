/** What the tests ask the engine, by its own command line. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

async function docker(...args) {
  const { stdout } = await run('docker', args, { timeout: 30_000, maxBuffer: 8 << 20 });
  return stdout.trim();
}

/** Ids of every container of a server's instance, running or not. */
export async function containersOf(instance) {
  if (!instance) return [];
  const ids = await docker('ps', '-aq', '--no-trunc', '--filter', `label=buildspaces.instance=${instance}`);
  return ids === '' ? [] : ids.split('\n');
}

export async function inspect(container) {
  return JSON.parse(await docker('inspect', container))[0];
}

export const killContainer = (container) => docker('kill', container);

export const removeContainers = (containers) => docker('rm', '-f', ...containers);

export const execIn = (container, ...argv) => docker('exec', container, ...argv);
