/**
 * This client beside Yjs: the replay of a recorded editing history, loading what comes of it, memory after that, keys in a document of a megabyte, and
 * what is sent. Prints a Markdown table; the two take turns and what stands there are medians.
 *
 *     scripts/build-client && node --expose-gc client-wasm/benches/compare.mjs TRACE.json.gz [--rounds 5] [--chromium]
 *
 * The trace has the format of the editing-traces collection. Replay and load are the processor's time in Node.js, and time on the wall in Chromium.
 * Memory is what a fresh process of Node.js has grown by, with the modules loaded before, after loading the document and collecting garbage; and
 * what each of ten further ones took, all kept. With the first, both compile what they need for it.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { brotliCompressSync, constants, gunzipSync } from 'node:zlib';
import * as Y from '../../web/node_modules/yjs/dist/yjs.mjs';
import { createDocument, load } from '../pkg/index.js';
import { measure, median, megabyte, subjects } from './subjects.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const own = fileURLToPath(import.meta.url);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, chromium: { type: 'boolean', default: false }, memory: { type: 'string' } },
});

const FURTHER = 10;

/** In a process of its own: how much a document takes. */
if (values.memory) {
  await load();
  const both = subjects({ Y, createDocument });
  const state = readFileSync(0);
  const settled = async () => {
    // What is compiled meanwhile takes memory too, and gives it back.
    await new Promise((done) => setTimeout(done, 1000));
    for (let turn = 0; turn < 4; turn++) globalThis.gc();
    return process.memoryUsage().rss;
  };
  // Both have loaded something before, so that what they need once is not counted.
  both[values.memory].load(both[values.memory].make().state()).end();
  const sizes = [await settled()];
  const kept = [];
  for (const count of [1, FURTHER]) {
    for (let document = 0; document < count; document++) kept.push(both[values.memory].load(state));
    sizes.push(await settled());
  }
  if (kept.some((one) => one.text.length === 0)) throw new Error('nothing was loaded');
  process.stdout.write(JSON.stringify([sizes[1] - sizes[0], (sizes[2] - sizes[1]) / FURTHER]));
  process.exit(0);
}

const [path] = positionals;
if (!path || !globalThis.gc) throw new Error('usage: node --expose-gc client-wasm/benches/compare.mjs TRACE.json.gz [--rounds 5] [--chromium]');
const read = JSON.parse(gunzipSync(readFileSync(path)).toString());
const trace = { patches: read.txns.flatMap((txn) => txn.patches), endContent: read.endContent };
const rounds = Number(values.rounds);
const big = megabyte(Y);

await load();
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const { rows, state } = measure(subjects({ Y, createDocument }), { trace, big, rounds, clock: cpu, collect: globalThis.gc });
print(`Node.js ${process.version}`, rows);

const grown = { ours: [], yjs: [] };
for (let round = 0; round < rounds; round++) {
  for (const [name, all] of Object.entries(grown)) {
    all.push(JSON.parse(execFileSync(process.execPath, ['--expose-gc', own, '--memory', name], { input: state })));
  }
}
const megabytes = (all, at) => median(all.map((grown) => grown[at] / 1e6));
line('memory after load, MB', megabytes(grown.ours, 0), megabytes(grown.yjs, 0));
line('memory of a further one, MB', megabytes(grown.ours, 1), megabytes(grown.yjs, 1));

const folder = join(root, 'client-wasm/pkg');
const files = readdirSync(folder).filter((file) => /\.(js|wasm)$/.test(file));
const brotli = (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_LGWIN]: 24 } }).length / 1000;
const sent = files.map((file) => brotli(readFileSync(join(folder, file)))).reduce((a, b) => a + b);
process.stdout.write(`| the package with brotli, kB | ${sent.toFixed(1)} | | |\n`);

if (values.chromium) await inChromium();

function print(where, rows) {
  process.stdout.write(`\n${where}, yjs ${JSON.parse(readFileSync(join(root, 'web/node_modules/yjs/package.json'))).version}\n\n`);
  process.stdout.write('| what | ours | Yjs | ours / Yjs |\n| --- | ---: | ---: | ---: |\n');
  for (const [row, { ours, yjs }] of Object.entries(rows)) line(`${row}, ms`, ours, yjs);
}

function line(row, ours, yjs) {
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  process.stdout.write(`| ${row} | ${digits(ours)} | ${digits(yjs)} | ${(ours / yjs).toFixed(2)} |\n`);
}

/** The same in a page. What it imports is served as it lies in the checkout. */
async function inChromium() {
  const { chromium } = await import('../../web/node_modules/playwright-core/index.mjs');
  const page = `<!doctype html><meta charset="utf-8"><script type="importmap">{"imports":{"yjs":"/web/node_modules/yjs/dist/yjs.mjs","lib0/":"/web/node_modules/lib0/"}}</script>`;
  const types = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://here');
    // A page that is isolated has finer clocks.
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (pathname === '/') return response.setHeader('Content-Type', 'text/html').end(page);
    if (pathname === '/trace') return response.end(JSON.stringify(trace));
    if (pathname === '/big') return response.end(big);
    const file = join(root, normalize(extname(pathname) ? pathname : `${pathname}.js`));
    try {
      response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream').end(readFileSync(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--js-flags=--expose-gc'] });
  try {
    const tab = await browser.newPage();
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    const seen = await tab.evaluate(async (rounds) => {
      const [Y, { createDocument, load }, { measure, subjects }] = await Promise.all([
        import('yjs'),
        import('/client-wasm/pkg/index.js'),
        import('/client-wasm/benches/subjects.mjs'),
      ]);
      await load();
      const trace = await (await fetch('/trace')).json();
      const big = new Uint8Array(await (await fetch('/big')).arrayBuffer());
      const clock = () => performance.now();
      return measure(subjects({ Y, createDocument }), { trace, big, rounds, clock, collect: () => globalThis.gc() }).rows;
    }, rounds);
    print(`Chromium ${browser.version()}`, seen);
  } finally {
    await browser.close();
    server.close();
  }
}
