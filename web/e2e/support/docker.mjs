/** What the tests ask the engine, by its own command line. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

async function docker(...args) {
  const { stdout } = await run('docker', args, { timeout: 30_000, maxBuffer: 8 << 20 });
  return stdout.trim();
}

/** Every container of a server's instance, running or not: its id, and the name of its folder in `sandboxes/`. */
export async function containersOf(instance) {
  if (!instance) return [];
  const filter = `label=buildspaces.instance=${instance}`;
  const format = '{{.ID}} {{.Label "buildspaces.place"}}';
  const lines = await docker('ps', '-a', '--no-trunc', '--filter', filter, '--format', format);
  return lines === ''
    ? []
    : lines
        .split('\n')
        .map((line) => line.split(' '))
        .map(([id, place]) => ({ id, place }));
}

export async function inspect(container) {
  return JSON.parse(await docker('inspect', container))[0];
}

export const killContainer = (container) => docker('kill', container);

export const removeContainers = (containers) => docker('rm', '-f', ...containers);

export const execIn = (container, ...argv) => docker('exec', container, ...argv);
