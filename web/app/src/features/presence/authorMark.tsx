/** Somebody as a small sign: people are round with their initials, agents square with a robot, the machine itself is grey. */
import { Blocks, Bot, SquareTerminal } from 'lucide-react';
import type { Author } from '../../api/types';
import { initials, safeColor } from '../../ui/color';
import './presence.css';

export type Marked = Pick<Author, 'name' | 'color' | 'kind'>;

const MACHINES = { file_system: SquareTerminal, system: Blocks };

export function AuthorMark(props: { author: Marked }) {
  const { name, color, kind } = props.author;
  const machine = kind === 'file_system' || kind === 'system';
  const Icon = machine ? MACHINES[kind] : Bot;
  return (
    <span
      className="author-mark"
      data-testid="author-mark"
      data-kind={kind}
      data-name={name}
      style={machine ? undefined : { backgroundColor: safeColor(color) }}
      aria-hidden
    >
      {kind === 'person' ? initials(name) : <Icon size={12} />}
    </span>
  );
}

const KIND_WORDS = { person: '', agent: ' (agent)', file_system: ' (programs in the sandbox)', system: '' };

/** The name, with what kind of author it is where that is not a person. */
export function authorName(author: Marked): string {
  return `${author.name}${KIND_WORDS[author.kind]}`;
}
