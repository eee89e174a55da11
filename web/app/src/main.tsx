/** Starts the app: styles, theme, session, then React. */
import '@fontsource-variable/inter';
import '@fontsource-variable/jetbrains-mono';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { SessionStore } from './session/session';
import './styles/tokens.css';
import './styles/base.css';
import { startTheme } from './ui/theme';

startTheme();
const root = document.getElementById('root');
if (!root) throw new Error('index.html has the root element');
createRoot(root).render(<App sessions={new SessionStore(localStorage)} />);
