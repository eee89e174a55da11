/** What the tests ask the engine, by its own command line. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** Gives the engine an image like `image` that has `/etc/second` besides, under a new name, and calls `use` with that name. */
export async function withSecondImage(image, use) {
  const name = `buildspaces-test/second:${Date.now().toString(36)}-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), 'buildspaces-'));
  try {
    const file = join(folder, 'second');
    writeFileSync(file, 'the second image\n');
    const container = await docker('create', image, 'true');
    await docker('cp', file, `${container}:/etc/second`);
    await docker('commit', container, name);
    await docker('rm', container);
    return await use(name);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await docker('rmi', '-f', name).catch(() => undefined);
  }
}
