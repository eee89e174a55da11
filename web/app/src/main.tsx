/** Starts the app: styles, theme, session, then React. */
import '@fontsource-variable/inter';
import '@fontsource-variable/jetbrains-mono';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { callKeys, takeCallKey } from './features/e2ee/callKeys';
import { route } from './router';
import { takeGuestToken, tokenIn } from './session/guestLink';
import { SessionStore } from './session/session';
import './styles/tokens.css';
import './styles/base.css';
import { startTheme } from './ui/theme';

startTheme();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has the root element');
const room = () => {
  const at = route.get();
  return at.page === 'room' ? at.room : null;
};
takeCallKey(room(), location, history, callKeys);
const guest = takeGuestToken(room(), location, history, sessionStorage);
// Another link that is opened in this tab changes the fragment alone, which loads nothing by itself.
window.addEventListener('hashchange', () => {
  takeCallKey(room(), location, history, callKeys);
  if (tokenIn(location.hash)) location.reload();
});
createRoot(root).render(<App sessions={new SessionStore(localStorage, guest)} />);
