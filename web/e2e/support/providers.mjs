/**
 * One shape for the clients of all four populations that meet here: y-websocket, Hocuspocus 3 and 4, y-sweet, and the coming
 * major version. Each has `doc`, `text`, `awareness`, `isSynced()`, `disconnect()`, `connect()`, `cut()` (the cable is pulled) and
 * `destroy()`.
 */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider';
import {
  HocuspocusProvider as HocuspocusProvider3,
  HocuspocusProviderWebsocket as HocuspocusProviderWebsocket3,
} from '@hocuspocus/provider-3';
import { YSweetProvider } from '@y-sweet/client';
import { DocumentManager } from '@y-sweet/sdk';
import NodeWebSocket from 'ws';
import { WebsocketProvider as Provider3 } from 'y-websocket';
import { WebsocketProvider as Provider2 } from 'y-websocket-2';
import { WebsocketProvider as Provider31 } from 'y-websocket-31';
import * as Y from 'yjs';
import { until } from './wait.mjs';

/** As browsers have it: that a connection fails is told by its close alone. */
class WebSocket extends NodeWebSocket {
  constructor(...args) {
    super(...args);
    this.on('error', () => undefined);
  }
}

const ws = (server) => server.url.replace(/^http/, 'ws');

/** Hocuspocus' providers wait a second and more between attempts unless they are told otherwise. */
const IMPATIENT = { delay: 100, minDelay: 50, maxDelay: 300 };

function yWebsocket(Provider) {
  return (server, name, { token, doc = new Y.Doc(), ...options } = {}) => {
    const provider = new Provider(`${ws(server)}/yjs`, name, doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: true,
      maxBackoffTime: 300,
      params: token ? { token } : {},
      ...options,
    });
    return client(doc, provider, {
      isSynced: () => provider.synced,
      cut() {
        provider.shouldConnect = false;
        provider.ws?.terminate();
      },
      destroy() {
        provider.destroy();
        provider.awareness.destroy();
      },
    });
  };
}

/** A socket that providers of several documents share. */
export function hocuspocusSocket(stage, server, options = {}, Socket = HocuspocusProviderWebsocket) {
  const socket = new Socket({
    url: `${ws(server)}/collab`,
    WebSocketPolyfill: WebSocket,
    ...IMPATIENT,
    ...options,
  });
  socket.closes = [];
  socket.on('close', ({ event }) => socket.closes.push(event.code));
  stage.own({ destroy: () => socket.destroy() });
  return socket;
}

/** A document on such a socket, with everything that was said to it by kind. */
export function onSocket(stage, socket, name, options = {}, Provider = HocuspocusProvider) {
  const { doc = new Y.Doc(), ...rest } = options;
  const provider = new Provider({ websocketProvider: socket, name, document: doc, token: '', ...rest });
  if (!provider.isAttached) provider.attach?.();
  const one = client(doc, provider, {
    isSynced: () => provider.isSynced,
    destroy: () => provider.destroy(),
  });
  one.scopes = [];
  one.denials = [];
  one.stateless = [];
  one.closes = [];
  one.unsynced = [];
  provider.on('authenticated', ({ scope }) => one.scopes.push(scope));
  provider.on('authenticationFailed', ({ reason }) => one.denials.push(reason));
  provider.on('stateless', ({ payload }) => one.stateless.push(payload));
  provider.on('close', ({ event }) => one.closes.push(event));
  provider.on('unsyncedChanges', () => one.unsynced.push(provider.unsyncedChanges));
  stage.own(one);
  return one;
}

function hocuspocus(Provider, Socket, extra = {}) {
  return (server, name, { token = '', doc = new Y.Doc(), ...options } = {}) => {
    const socket = new Socket({
      url: `${ws(server)}/collab`,
      WebSocketPolyfill: WebSocket,
      ...IMPATIENT,
    });
    const provider = new Provider({
      websocketProvider: socket,
      name,
      document: doc,
      token,
      ...extra,
      ...options,
    });
    provider.attach();
    return client(doc, provider, {
      isSynced: () => provider.isSynced,
      connect: () => socket.connect(),
      disconnect: () => socket.disconnect(),
      cut() {
        socket.shouldConnect = false;
        socket.webSocket?.terminate();
      },
      destroy() {
        provider.destroy();
        socket.destroy();
      },
    });
  };
}

/** As y-sweet's own documentation shows it: the app's server asks for a client token, the browser connects with it. */
async function ySweet(
  server,
  name,
  { doc = new Y.Doc(), serverToken, authorization = 'full', ...options } = {},
) {
  const manager = new DocumentManager(connectionString(server, serverToken));
  let isDestroyed = false;
  const askToken = async () => {
    // The provider asks until it is answered, even after its own end.
    if (isDestroyed) return new Promise(() => undefined);
    await manager.createDoc(name);
    return manager.getClientToken(name, { authorization });
  };
  const provider = new YSweetProvider(askToken, name, doc, {
    WebSocketPolyfill: WebSocket,
    showDebuggerLink: false,
    ...options,
  });
  // This provider connects again after every close, even its own.
  const stayAway = () => {
    provider.connect = async () => undefined;
  };
  return client(doc, provider, {
    isSynced: () => provider.synced,
    connect() {
      delete provider.connect;
      if (!provider.wsconnected) provider.connect();
    },
    disconnect() {
      stayAway();
      provider.disconnect();
    },
    cut() {
      stayAway();
      provider.websocket?.terminate();
    },
    destroy() {
      isDestroyed = true;
      stayAway();
      if (provider.websocket) provider.websocket.onclose = null;
      provider.disconnect();
      provider.destroy();
      provider.awareness.destroy();
    },
  });
}

export const connectionString = (server, serverToken) =>
  server.url.replace(/^http:\/\//, `ys://${serverToken ? `${encodeURIComponent(serverToken)}@` : ''}`);

function client(doc, provider, how) {
  return {
    doc,
    provider,
    text: doc.getText('text'),
    awareness: provider.awareness,
    connect: () => provider.connect(),
    disconnect: () => provider.disconnect(),
    ...how,
  };
}

/** Every kind that works on Yjs 13. */
export const KINDS = {
  'y-websocket 2.1': yWebsocket(Provider2),
  'y-websocket 3.0': yWebsocket(Provider3),
  'y-websocket 3.1': yWebsocket(Provider31),
  'Hocuspocus 3': hocuspocus(HocuspocusProvider3, HocuspocusProviderWebsocket3),
  'Hocuspocus 4': hocuspocus(HocuspocusProvider, HocuspocusProviderWebsocket),
  'Hocuspocus 4 with sessions': hocuspocus(HocuspocusProvider, HocuspocusProviderWebsocket, {
    sessionAwareness: true,
  }),
  'y-sweet 0.9': ySweet,
};

/** Opens `name` with a client of each kind that is asked for, and waits until all are in sync. */
export async function openAll(stage, server, name, kinds = Object.keys(KINDS), options = {}) {
  const clients = [];
  for (const kind of kinds) {
    const one = await KINDS[kind](server, name, options);
    one.kind = kind;
    stage.own(one);
    clients.push(one);
  }
  await until('all to be in sync', () => {
    const late = clients.filter((one) => !one.isSynced()).map((one) => one.kind);
    if (late.length > 0) throw new Error(`not in sync: ${late.join(', ')}`);
    return true;
  });
  return clients;
}
