/** The theme's switch without the tooltip library, which the start page does not load. */
import { Moon, Sun } from 'lucide-react';
import { useStore } from '../../ui/store';
import { theme, toggleTheme } from '../../ui/theme';

export function LobbyTheme() {
  const value = useStore(theme);
  const label = value === 'dark' ? 'Use light colours' : 'Use dark colours';
  return (
    <button
      type="button"
      className="icon-button"
      data-testid="theme-toggle"
      aria-label={label}
      title={label}
      onClick={toggleTheme}
    >
      {value === 'dark' ? <Sun size={16} /> : <Moon size={16} />}
    </button>
  );
}
