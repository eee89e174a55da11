/** Which tabs a room had open in this browser. */
export interface Tabs {
  open: string[];
  active: string | null;
}

const key = (room: string) => `buildspaces.tabs.${room}`;

export function readTabs(room: string): Tabs {
  try {
    const value = JSON.parse(localStorage.getItem(key(room)) ?? 'null') as Partial<Tabs> | null;
    const open = Array.isArray(value?.open) ? value.open.filter((id) => typeof id === 'string') : [];
    return { open, active: typeof value?.active === 'string' ? value.active : null };
  } catch {
    return { open: [], active: null };
  }
}

export function writeTabs(room: string, tabs: Tabs): void {
  try {
    localStorage.setItem(key(room), JSON.stringify(tabs));
  } catch {
    // Without storage the tabs are not remembered; nothing else depends on it.
  }
}
