/** Previews: a program in a real sandbox that serves pages and a WebSocket, seen in a frame of the room's page. */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { Api } from './support/api.mjs';
import { scenario } from './support/scenario.mjs';
import { openTerminal, START_MS, shown, type } from './support/terminal.mjs';
import { until } from './support/wait.mjs';

/** Serves a page that talks to a WebSocket of its own, tells what it hears, and tries to get out. No more than Python has. */
const PROGRAM = `
import base64, hashlib, http.server, json, sys

PAGE = b"""<!doctype html><title>Shop</title><h1 id=title>The shop is open</h1><p id=said></p><p id=out></p><script>
document.cookie = 'theme=dark; SameSite=None; Secure; Partitioned';
const socket = new WebSocket('ws://' + location.host + '/socket');
socket.onopen = () => socket.send('hello over the socket');
socket.onmessage = (event) => { document.getElementById('said').textContent = event.data; };
const out = [];
try { out.push(parent.document.title); } catch (error) { out.push(error.name); }
try { if (top !== self) top.location = '/elsewhere'; } catch (error) { out.push(error.name); }
document.getElementById('out').textContent = out.join(' ');
</script>"""

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        if self.path == '/socket':
            key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
            self.send_response(101)
            self.send_header('Upgrade', 'websocket')
            self.send_header('Connection', 'Upgrade')
            self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            head = self.rfile.read(2)
            mask, length = self.rfile.read(4), head[1] & 127
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([129, len(text) + 6]) + b'heard ' + text)
            self.rfile.read(1)
            return
        body = json.dumps(dict(self.headers)).encode() if self.path == '/headers' else PAGE
        self.send_response(200)
        self.send_header('Content-Type', 'application/json' if self.path == '/headers' else 'text/html')
        self.send_header('Content-Length', str(len(body)))
        self.send_header('X-Frame-Options', 'DENY')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
`;

/** Of a request under another name than the address it goes to. */
const statusOf = (server, host, path) =>
  new Promise((done, fail) => {
    const request = get({ host: '127.0.0.1', port: server.port, path, headers: { host } }, (answer) => {
      answer.resume();
      done(answer.statusCode);
    });
    request.once('error', fail);
  });

const portsOf = async (person) => (await person.get('ports').getAttribute('aria-label')) ?? '';

scenario(
  'a program in the sandbox is seen in a frame, with its socket, and reaches nothing else',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const bob = await stage.person('Bob');
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    const api = await Api.signIn(server.url, 'Carol');
    await api.createNode(room, { name: 'shop.py', kind: 'text', text: PROGRAM });
    await openTerminal(ada);
    await until('the file to be there', async () => {
      await type(ada, 'ls\n');
      return (await shown(ada)).includes('shop.py');
    });

    await ada.get('ports').click();
    assert.match(await ada.get('ports-list').innerText(), /No program listens/);
    await ada.page.keyboard.press('Escape');
    await type(ada, 'clear; python3 shop.py 8123\n');
    for (const person of [ada, bob])
      await until(`${person.name} to see the port`, async () => (await portsOf(person)).includes('8123'));

    await bob.get('ports').click();
    await bob.get('open-preview').click();
    const frame = bob.page.frameLocator('[data-testid="preview-frame"]');
    await until(
      'the page',
      async () => (await frame.locator('#title').innerText()) === 'The shop is open',
      START_MS,
    );
    await until(
      'the socket',
      async () => (await frame.locator('#said').innerText()) === 'heard hello over the socket',
    );
    assert.equal(await frame.locator('#out').innerText(), 'SecurityError SecurityError');
    assert.equal(new URL(bob.page.url()).pathname, `/r/${room}`, 'the page was not led away');

    // What the program hears, and what it does not.
    await bob.get('preview-path').fill('/headers');
    await bob.page.keyboard.press('Enter');
    const heard = await until('the headers', async () => JSON.parse(await frame.locator('pre').innerText()));
    assert.equal(heard.host, 'localhost:8123');
    assert.doesNotMatch(JSON.stringify(heard), /buildspaces-preview/);
    assert.equal(heard.cookie, 'theme=dark');

    // Who was not let in gets nothing, and the link in the frame works for nobody else.
    const url = new URL(await bob.get('preview-frame').getAttribute('src'));
    for (const path of ['/', url.pathname + url.search])
      assert.equal(await statusOf(server, url.host, path), 401, path);

    // A tab of its own.
    const opened = bob.page.context().waitForEvent('page');
    await bob.get('preview-path').fill('/');
    await bob.page.keyboard.press('Enter');
    await bob.get('preview-tab-open').click();
    const tab = await opened;
    await until('the tab', async () => (await tab.title()) === 'Shop');
    assert.equal(await tab.evaluate(() => window.opener), null);
    await tab.close();

    // The program ends, and comes back.
    await type(ada, '\u0003');
    for (const person of [ada, bob])
      await until('the port to be gone', async () => (await portsOf(person)) === 'Ports: none');
    assert.match(await bob.get('preview-empty').innerText(), /Nothing listens on port 8123/);
    await type(ada, 'python3 shop.py 8123\n');
    await until(
      'the page again',
      async () => (await frame.locator('#title').innerText()) === 'The shop is open',
    );
  },
);
