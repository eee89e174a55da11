import { describe, expect, it } from 'vitest';
import { asPath, readPorts, samePorts, whyNoPreview } from './portsModel';

describe('ports', () => {
  it('are read in order, and what is none is left out', () => {
    const value = [
      { port: 8000 },
      { port: 3000 },
      { port: 0 },
      { port: 70_000 },
      { port: '80' },
      null,
      {},
      { port: 3000 },
    ];
    expect(readPorts(value)).toEqual([3000, 8000]);
    for (const nothing of [undefined, null, {}, 'x']) expect(readPorts(nothing)).toEqual([]);
  });

  it('are the same when nothing changed', () => {
    expect(samePorts([1, 2], [1, 2])).toBe(true);
    expect(samePorts([1, 2], [1, 3])).toBe(false);
    expect(samePorts([1], [1, 2])).toBe(false);
  });
});

describe('what was typed', () => {
  it('is a path of the preview, whatever else it says', () => {
    expect(asPath('')).toBe('/');
    expect(asPath(' docs?page=2 ')).toBe('/docs?page=2');
    expect(asPath('http://localhost:8000/a#b')).toBe('/a#b');
    expect(asPath('//evil.example')).toBe('/evil.example');
    expect(asPath('/\\evil.example')).toBe('/evil.example');
    expect(asPath('/grüße und mehr')).toBe('/gr%C3%BC%C3%9Fe%20und%20mehr');
  });
});

describe('where there is no preview', () => {
  const fine = { port: 8000, listening: true, may: true, away: false, off: false };

  it('says why, the most lasting reason first', () => {
    expect(whyNoPreview(fine)).toBeNull();
    expect(whyNoPreview({ ...fine, listening: false })).toContain('port 8000');
    expect(whyNoPreview({ ...fine, listening: false, off: true })).toContain('off on this server');
    expect(whyNoPreview({ ...fine, listening: false, away: true })).toContain('cannot be reached');
    expect(whyNoPreview({ ...fine, may: false, away: true })).toContain('not open previews');
  });
});
