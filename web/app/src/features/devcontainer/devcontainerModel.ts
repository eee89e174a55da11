/** What the room's sandbox was made by, as the `runs:main` document tells it: what of a devcontainer.json is done and what is not. Pure. */
import { isPort } from '../ports/portsModel';

export interface Notice {
  /** `null`: it is about the file as a whole. */
  key: string | null;
  message: string;
}

export interface NamedPort {
  port: number;
  label: string | null;
  /** A program is to listen there. */
  expected: boolean;
}

export interface Devcontainer {
  path: string;
  /** `null`: the server's usual one. */
  image: string | null;
  /** Keys whose commands are run first in each new sandbox. */
  setup: readonly string[];
  ports: readonly NamedPort[];
  notices: readonly Notice[];
}

/** `null` where there is no such file, or no sandbox. */
export function readDevcontainer(value: unknown): Devcontainer | null {
  const given = value as Partial<Record<keyof Devcontainer, unknown>> | null | undefined;
  if (typeof given?.path !== 'string') return null;
  return {
    path: given.path,
    image: text(given.image),
    setup: Array.isArray(given.setup) ? given.setup.filter((key) => typeof key === 'string') : [],
    ports: list(given.ports)
      .filter((item) => isPort(item.port))
      .map((item) => ({
        port: item.port as number,
        label: text(item.label),
        expected: item.expected === true,
      })),
    notices: list(given.notices)
      .filter((item) => typeof item.message === 'string')
      .map((item) => ({ key: text(item.key), message: item.message as string })),
  };
}

export function sameDevcontainer(one: Devcontainer | null, other: Devcontainer | null): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The file's own name, for where there is little place. */
export function fileName(devcontainer: Devcontainer): string {
  return devcontainer.path.slice(devcontainer.path.lastIndexOf('/') + 1);
}

/** A row of the list of ports. */
export interface PortRow {
  port: number;
  label: string | null;
  listening: boolean;
}

/** Ports on which programs listen, and those on which one is to, in ascending order. */
export function portRows(listening: readonly number[], devcontainer: Devcontainer | null): PortRow[] {
  const named = new Map(devcontainer?.ports.map((port) => [port.port, port]));
  const expected = [...named.values()].filter((port) => port.expected).map((port) => port.port);
  return [...new Set([...listening, ...expected])]
    .sort((a, b) => a - b)
    .map((port) => ({
      port,
      label: named.get(port)?.label ?? null,
      listening: listening.includes(port),
    }));
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function list(value: unknown): Record<string, unknown>[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item) => typeof item === 'object' && item !== null);
}
