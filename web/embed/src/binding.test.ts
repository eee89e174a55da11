import type { SharedText } from '@buildspaces/client';
import { expect, it, vi } from 'vitest';
import { Binding } from './binding';

it('hears of it when a text is plain no more', () => {
  const text = { toString: () => 'ab', length: 2 } as unknown as SharedText;
  const binding = new Binding(text, 'me', () => undefined);
  binding.onRich = vi.fn();
  const change = (delta: unknown) => ({ delta, origin: 'others' }) as never;
  expect(binding.changesOf(change([{ retain: 2 }, { insert: 'c' }]), 'ab')).toHaveLength(1);
  expect(binding.onRich).not.toHaveBeenCalled();
  expect(binding.changesOf(change([{ retain: 1 }, { insert: { image: 'x' } }]), 'ab')).toEqual([]);
  expect(binding.onRich).toHaveBeenCalledOnce();
});
