/** A site that is not ours: files on an address of their own. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** Serves `files` (path -> text) and, below the paths of `folders`, what lies there. Returns the site's origin. */
export async function site(stage, { files = {}, folders = {}, headers = {} }) {
  const content = async (path) => {
    if (path in files) return files[path];
    const mount = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const name = normalize(path.slice(mount?.length ?? 0));
    if (mount === undefined || name.startsWith('..')) return null;
    return readFile(join(folders[mount], name)).catch(() => null);
  };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname).replace(
      /\/$/,
      '/index.html',
    );
    const body = await content(path);
    const type = TYPES[extname(path)] ?? 'text/plain';
    response.writeHead(body === null ? 404 : 200, { 'content-type': type, ...headers });
    response.end(body);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  stage.own({
    destroy() {
      server.closeAllConnections();
      server.close();
    },
  });
  return `http://127.0.0.1:${server.address().port}`;
}
