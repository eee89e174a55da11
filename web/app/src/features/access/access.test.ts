import { describe, expect, it } from 'vitest';
import type { Role } from '../../api/types';
import { abilities, may, readOnlyReason, roleTitle } from './access';

const ROLES: Role[] = ['host', 'editor', 'commenter', 'viewer', 'agent'];

describe('access', () => {
  it('is what the server listed and nothing else', () => {
    expect(may({ capabilities: ['read'] }, 'read')).toBe(true);
    expect(may({ capabilities: ['read'] }, 'edit_documents')).toBe(false);
  });

  it.each(ROLES)('has words for %s', (role) => {
    expect(roleTitle(role)).toMatch(/^[A-Z]/);
    expect(abilities(role)).toMatch(/^can .*\.$/);
    expect(readOnlyReason(role)).toContain(` ${role}:`);
  });
});
