import { describe, expect, it } from 'vitest';
import { SaveTracker } from './saveTracker';

function edited(times: number): SaveTracker {
  const tracker = new SaveTracker();
  for (let i = 0; i < times; i++) tracker.recordEdit();
  return tracker;
}

describe('SaveTracker', () => {
  it('has nothing to ask before the first edit', () => {
    expect(new SaveTracker().request()).toBeNull();
    expect(new SaveTracker().unsaved).toBe(0);
  });

  it('counts edits until the answer that covers them', () => {
    const tracker = edited(2);
    const request = tracker.request() as number;
    tracker.recordEdit();
    expect(tracker.unsaved).toBe(3);
    tracker.acknowledge(request);
    expect(tracker.unsaved).toBe(1);
  });

  it('asks once for the same edits', () => {
    const tracker = edited(1);
    expect(tracker.request()).not.toBeNull();
    expect(tracker.request()).toBeNull();
  });

  it('takes a later answer as covering earlier requests', () => {
    const tracker = edited(1);
    tracker.request();
    tracker.recordEdit();
    tracker.acknowledge(tracker.request() as number);
    expect(tracker.unsaved).toBe(0);
  });

  it('never goes back when an earlier answer comes late', () => {
    const tracker = edited(1);
    const first = tracker.request() as number;
    tracker.recordEdit();
    tracker.acknowledge(tracker.request() as number);
    tracker.acknowledge(first);
    expect(tracker.unsaved).toBe(0);
  });

  it('ignores answers from before a lost connection and asks again', () => {
    const tracker = edited(3);
    const stale = tracker.request() as number;
    tracker.distrust();
    tracker.acknowledge(stale);
    expect(tracker.unsaved).toBe(3);
    const fresh = tracker.request() as number;
    expect(fresh).not.toBe(stale);
    tracker.acknowledge(fresh);
    expect(tracker.unsaved).toBe(0);
  });
});
