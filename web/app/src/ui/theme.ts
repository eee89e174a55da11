/** Dark or light: the system's choice unless the person chose. The choice is kept in local storage. */
import { Store } from './store';

export type Theme = 'light' | 'dark';

const KEY = 'buildspaces.theme';
const system = () => window.matchMedia('(prefers-color-scheme: dark)');

export const theme = new Store<Theme>('light');

/** Call once before the first render. */
export function startTheme(): void {
  const apply = () => {
    const chosen = localStorage.getItem(KEY);
    const value: Theme =
      chosen === 'dark' || chosen === 'light' ? chosen : system().matches ? 'dark' : 'light';
    document.documentElement.dataset.theme = value;
    theme.set(value);
  };
  system().addEventListener('change', apply);
  apply();
}

export function toggleTheme(): void {
  const value: Theme = theme.get() === 'dark' ? 'light' : 'dark';
  // Back to what the system says: follow it again.
  if ((value === 'dark') === system().matches) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, value);
  document.documentElement.dataset.theme = value;
  theme.set(value);
}
