/** Who is in the room now, and where. */
import { UserMinus } from 'lucide-react';
import { useStore } from '../../ui/store';
import { AuthorMark, authorName } from '../presence/authorMark';
import type { PersonHere } from '../presence/people';
import { useRoom } from '../room/roomContext';
import type { Tree } from '../tree/treeModel';

/** Whoever has the administrator's token; the server does not let anybody remove them. */
const ADMINISTRATOR = 'admin';

/** `onRemove` is there for who may remove others. */
export function PeopleList(props: { onRemove: ((person: PersonHere) => void) | null }) {
  const { session } = useRoom();
  const people = useStore(session.people);
  const tree = useStore(session.tree);
  const { onRemove } = props;
  return (
    <section className="share-section">
      <h3>
        Here now <span className="share-count">{people.length}</span>
      </h3>
      <ul className="share-people">
        {people.map((person) => (
          <li key={person.id} data-testid="share-person" data-name={person.name}>
            <AuthorMark author={person} />
            <span className="share-person-name">
              {person.self ? `${person.name} (you)` : authorName(person)}
              <small>{places(person, tree)}</small>
            </span>
            {onRemove && !person.self && person.id !== ADMINISTRATOR && (
              <button
                type="button"
                className="button"
                data-size="small"
                data-kind="quiet"
                data-testid="share-remove"
                aria-label={`Remove ${person.name}`}
                onClick={() => onRemove(person)}
              >
                <UserMinus size={13} aria-hidden /> Remove
              </button>
            )}
          </li>
        ))}
      </ul>
      {people.length === 1 && <p className="share-note">Nobody else is here right now.</p>}
    </section>
  );
}

function places(person: PersonHere, tree: Tree): string {
  const paths = person.windows.flatMap((w) => (w.doc === null ? [] : (tree.byId.get(w.doc)?.path ?? [])));
  return [...new Set(paths)].join(', ');
}
