/** The ports on which programs in the sandbox listen, as the `runs:main` document tells them, and what is said of them. Pure. */

/** Ascending. */
export function readPorts(value: unknown): number[] {
  if (!Array.isArray(value)) return [];
  const ports = value.map((item) => (item as { port?: unknown } | null)?.port).filter(isPort);
  return [...new Set(ports)].sort((a, b) => a - b);
}

export function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
}

export function samePorts(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((port, index) => port === other[index]);
}

/** What somebody typed as the place to show: always a path, never another host. */
export function asPath(typed: string): string {
  const path = typed.trim().replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const encoded = [...path].map((sign) => (/[!-~]/.test(sign) ? sign : encodeURIComponent(sign))).join('');
  return `/${encoded.replace(/^[/\\]+/, '')}`;
}

/** What stands in the place of a preview, or `null` where it can be shown. */
export function whyNoPreview(about: {
  port: number;
  listening: boolean;
  may: boolean;
  away: boolean;
  off: boolean;
}): string | null {
  if (!about.may) return 'You may look at files and terminals here, but not open previews.';
  if (about.away) return 'The server cannot be reached right now. The preview comes back by itself.';
  if (about.off) return 'Previews need the sandbox, which is off on this server.';
  if (!about.listening)
    return `Nothing listens on port ${about.port} any more. The preview comes back as soon as a program does.`;
  return null;
}
