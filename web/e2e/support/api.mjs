/** The REST interface, as one signed-in person uses it. */
export class Refused extends Error {
  constructor(status, body) {
    super(`${status}: ${JSON.stringify(body)}`);
    this.status = status;
    this.code = body?.error?.code;
    this.sentence = body?.error?.message;
  }
}

export class Api {
  static async signIn(url, name) {
    const { token, person } = await new Api(url, null, null).call('POST', '/sessions', { name });
    return new Api(url, token, person);
  }

  constructor(url, token, person) {
    Object.assign(this, { url, token, person });
  }

  async raw(method, path, body) {
    const headers = {};
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const signal = AbortSignal.timeout(30_000);
    return fetch(`${this.url}/api/v1${path}`, { method, headers, body: payload, signal });
  }

  async call(method, path, body) {
    const answer = await this.raw(method, path, body);
    const text = await answer.text();
    const value = text === '' ? null : JSON.parse(text);
    if (!answer.ok) throw new Refused(answer.status, value);
    return value;
  }

  status = () => this.call('GET', '/status');
  createRoom = (template, title = template) => this.call('POST', '/rooms', { title, template });
  runs = (room) => this.call('GET', `/rooms/${room}/runs`);
  runNow = (room) => this.call('POST', `/rooms/${room}/runs`, {});
  cancel = (room, run) => this.call('POST', `/rooms/${room}/runs/${run}/cancel`);
  createNode = (room, node) => this.call('POST', `/rooms/${room}/nodes`, { parent: null, ...node });
  changeNode = (room, node, change) => this.call('PATCH', `/rooms/${room}/nodes/${node}`, change);
  deleteNode = (room, node) => this.call('DELETE', `/rooms/${room}/nodes/${node}`);

  async runLog(room, run) {
    return (await this.raw('GET', `/rooms/${room}/runs/${run}/log`)).text();
  }

  async content(room, node) {
    const answer = await this.raw('GET', `/rooms/${room}/nodes/${node}/content`);
    if (!answer.ok) throw new Refused(answer.status, await answer.json());
    return Buffer.from(await answer.arrayBuffer());
  }
}
