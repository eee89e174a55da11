/** The two addresses of the app, `/` and `/r/<room>`, and moving between them without a reload. */
import { Store } from './ui/store';

export type Route = { page: 'lobby' } | { page: 'room'; room: string } | { page: 'unknown' };

export function parseRoute(path: string): Route {
  if (path === '/' || path === '') return { page: 'lobby' };
  const room = /^\/r\/([a-z0-9_-]{1,64})\/?$/.exec(path)?.[1];
  return room ? { page: 'room', room } : { page: 'unknown' };
}

export const route = new Store<Route>(parseRoute(location.pathname));

window.addEventListener('popstate', () => route.set(parseRoute(location.pathname)));

export function go(path: string): void {
  history.pushState(null, '', path);
  route.set(parseRoute(path));
  window.scrollTo(0, 0);
}
