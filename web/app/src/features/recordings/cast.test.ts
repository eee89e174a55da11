import { describe, expect, it } from 'vitest';
import { clock, readCast } from './cast';

const HEADER = '{"version":2,"width":80,"height":24,"timestamp":1700000000,"title":"Terminal 1"}';

describe('an asciicast', () => {
  it('becomes what is written when, without long waits', () => {
    const lines = [
      HEADER,
      '[0.5,"o","a"]',
      '[90.5,"r","40x10"]',
      '[91,"o","b\\r\\n"]',
      '[95,"m","The end."]',
      '',
    ];
    expect(readCast(lines.join('\n'))).toEqual({
      size: { cols: 80, rows: 24 },
      moments: [
        { at: 500, text: 'a' },
        { at: 2500, size: { cols: 40, rows: 10 } },
        { at: 3000, text: 'b\r\n' },
      ],
      length: 3000,
    });
  });

  it('is read as far as it can be', () => {
    const odd = [
      '[]',
      '{}',
      '[1,"o",7]',
      '[2,"r","0x-1"]',
      '[2,"r","9999x9999"]',
      '[3,"i","typed"]',
      '[4,"o","x',
    ];
    expect(readCast([HEADER, '[1,"o","a"]', ...odd, '[0.5,"o","b"]'].join('\n'))?.moments).toEqual([
      { at: 1000, text: 'a' },
      { at: 1000, text: 'b' },
    ]);
    expect(readCast(HEADER)).toEqual({ size: { cols: 80, rows: 24 }, moments: [], length: 0 });
  });

  it('is not what has no header of this version', () => {
    for (const text of ['', 'hello', '{"version":3,"width":80,"height":24}', '{"version":2}', 'null'])
      expect(readCast(text)).toBeNull();
  });
});

describe('the clock', () => {
  it('has minutes, and hours if there are any', () => {
    expect([0, 999, 65_000, 3_725_000].map(clock)).toEqual(['0:00', '0:00', '1:05', '1:02:05']);
  });
});
