import { expect, describe as group, it } from 'vitest';
import type { Recording } from '../../api/types';
import { describe, fileName, fullWords, keptWords, settingWords } from './recordingModel';

const RECORDING: Recording = {
  id: 'r',
  terminal: 't',
  number: 3,
  opened_by: 'ada',
  opened_by_name: 'Ada',
  started_at: Date.UTC(2026, 0, 2, 3, 4, 5),
  ended_at: null,
  duration: 75_400,
  bytes: 2048,
  state: 'recording',
  message: null,
};

group('a recording', () => {
  it('is said in a line', () => {
    expect(describe(RECORDING, RECORDING.started_at + 240_000)).toBe(
      'Opened by Ada · 4 min ago · 1 min 15 s · 2.0 KB',
    );
    expect(fileName(RECORDING)).toBe('terminal-3-2026-01-02T03-04-05.cast');
  });
});

const KEPT = { recordings: 3, most_recordings: 200, bytes: 2048, most_bytes: 838_860_800 };

group('the setting', () => {
  it('is said with who made it', () => {
    const on = { record: true, set_by: 'ada', set_by_name: 'Ada', set_at: 1, kept: KEPT };
    expect(settingWords(on, 'bo')).toBe('Terminals of this room are recorded. Ada turned that on.');
    expect(settingWords(on, 'ada')).toBe('Terminals of this room are recorded. You turned that on.');
    const off = { record: false, set_by: null, set_by_name: null, set_at: null, kept: KEPT };
    expect(settingWords(off, 'bo')).toContain('not recorded');
  });

  it('is said with how much is kept, and what follows once that is all there may be', () => {
    expect(keptWords(KEPT, 'terminals', 'So.')).toEqual({
      words:
        'Kept until a host deletes them: 3 of at most 200 recordings of terminals, 2.0 KB of at most 800 MB.',
      full: false,
    });
    const many = keptWords({ ...KEPT, recordings: 200 }, 'calls', 'So.');
    expect(many).toEqual({
      words: 'This room keeps 200 of at most 200 recordings of calls, 2.0 KB of at most 800 MB. So.',
      full: true,
    });
    expect(keptWords({ ...KEPT, bytes: 838_860_801 }, 'calls', 'So.').full).toBe(true);
    const settings = { record: true, set_by: 'ada', set_by_name: 'Ada', set_at: 1, kept: KEPT };
    expect(fullWords(settings)).toContain('No terminal can be opened');
    expect(fullWords({ ...settings, record: false })).toContain('Recording can be turned on again');
  });
});
