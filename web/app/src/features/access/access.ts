/** Roles in words, and what one may do. The server decides each time; this only keeps the page from offering what it would refuse. Pure. */
import type { Access, Capability, Role } from '../../api/types';

export function may(access: Pick<Access, 'capabilities'>, capability: Capability): boolean {
  return access.capabilities.includes(capability);
}

const TITLES: Record<Role, string> = {
  host: 'Host',
  editor: 'Editor',
  commenter: 'Commenter',
  viewer: 'Viewer',
  agent: 'Agent',
};

export function roleTitle(role: Role): string {
  return TITLES[role];
}

/** What somebody with the role can do, to stand after "You" or after the role's name. */
const ABILITIES: Record<Role, string> = {
  host: 'can change everything, invite and remove people.',
  editor: 'can change files, run them and invite others.',
  agent: 'can change files and run them.',
  commenter: 'can read everything and be seen. Comments are not there yet, so for now this is as a viewer.',
  viewer: 'can read everything and be seen, but change nothing.',
};

export function abilities(role: Role): string {
  return ABILITIES[role];
}

/** Why nothing can be changed here, and what to do about it. */
export function readOnlyReason(role: Role): string {
  const article = role === 'agent' || role === 'editor' ? 'an' : 'a';
  return `You are here as ${article} ${role}: you can read, but not change anything. Ask a host for a link with the role editor.`;
}
