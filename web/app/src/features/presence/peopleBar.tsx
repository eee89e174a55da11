/** The people in the room as a row of avatars. A click goes to where that person is. */
import { initials } from '../../ui/color';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { useRoom } from '../room/roomContext';
import type { Tree } from '../tree/treeModel';
import { authorName } from './authorMark';
import type { PersonHere } from './people';
import './presence.css';

/** More avatars than this become "+3". */
const MAX_SHOWN = 7;

export function PeopleBar() {
  const { session, opener } = useRoom();
  const people = useStore(session.people);
  const tree = useStore(session.tree);
  const connection = useStore(session.connection);
  const speaking = useSpeaking();
  const away = connection.kind === 'reconnecting' || connection.kind === 'offline';
  const rest = people.length - MAX_SHOWN;

  const visit = (person: PersonHere) => {
    const file = person.windows.map((w) => w.doc).find((doc) => doc !== null && tree.byId.has(doc));
    if (file && !person.self) opener.open({ node: file, follow: person.id });
  };

  return (
    <ul
      className="people"
      data-testid="people"
      data-away={away || undefined}
      aria-label={`${people.length} ${people.length === 1 ? 'person' : 'people'} here`}
    >
      {people.slice(0, MAX_SHOWN).map((person) => {
        const words = where(person, tree);
        return (
          <li key={person.id}>
            <Tip text={words}>
              <button
                type="button"
                className="avatar"
                data-testid="person"
                data-user-id={person.id}
                data-name={person.name}
                data-self={person.self}
                data-kind={person.kind}
                data-speaking={speaking.has(person.id) || undefined}
                aria-label={words}
                style={{ backgroundColor: person.color }}
                onClick={() => visit(person)}
              >
                {initials(person.name)}
              </button>
            </Tip>
          </li>
        );
      })}
      {rest > 0 && <li className="people-rest">+{rest}</li>}
    </ul>
  );
}

/** Who is heard in the call right now. */
function useSpeaking(): Set<string> {
  const { media } = useRoom().session;
  const participants = useStore(media.participants);
  const speakers = useStore(media.speakers);
  return new Set(participants.filter((one) => speakers.includes(one.id)).map((one) => one.person.id));
}

function where(person: PersonHere, tree: Tree): string {
  const name = person.self ? `${person.name} (you)` : authorName(person);
  const paths = person.windows.flatMap((w) => (w.doc === null ? [] : (tree.byId.get(w.doc)?.path ?? [])));
  const places = [...new Set(paths)].join(' and ');
  if (!places) return name;
  return person.self ? `${name}, in ${places}` : `${name}, in ${places} — click to go there`;
}
