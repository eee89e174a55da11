/** The present branch, and the way to others. */
import { Check, GitBranch, Plus } from 'lucide-react';
import { type FormEvent, useEffect, useState } from 'react';
import { Button, Dialog, DialogTrigger, Popover } from 'react-aria-components';
import { sentence } from '../../api/client';
import type { Branch, Repository } from '../../api/types';
import { useRoom } from '../room/roomContext';
import { shortId } from './gitModel';

export function BranchMenu(props: {
  repository: Repository;
  busy: boolean;
  onCreate: (name: string) => Promise<boolean>;
  onSwitch: (name: string) => Promise<boolean>;
}) {
  const { branch, head } = props.repository;
  const name = branch ?? (head ? `commit ${shortId(head)}` : 'no branch');
  return (
    <DialogTrigger>
      <Button className="button git-branch" data-size="small" data-testid="branch" isDisabled={props.busy}>
        <GitBranch size={13} aria-hidden />
        <span>{name}</span>
      </Button>
      <Popover className="menu-popover git-branches-popover" placement="top start" offset={6}>
        <Dialog className="git-branches" aria-label="Branches" data-testid="branches">
          {({ close }) => (
            <Branches
              onCreate={(wanted) => {
                close();
                void props.onCreate(wanted);
              }}
              onSwitch={(wanted) => {
                close();
                void props.onSwitch(wanted);
              }}
            />
          )}
        </Dialog>
      </Popover>
    </DialogTrigger>
  );
}

function Branches(props: { onCreate: (name: string) => void; onSwitch: (name: string) => void }) {
  const { session } = useRoom();
  const [branches, setBranches] = useState<Branch[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [name, setName] = useState('');
  useEffect(() => {
    let left = false;
    session.api.branches(session.room.id).then(
      (found) => !left && setBranches(found),
      (error: unknown) => !left && setProblem(sentence(error)),
    );
    return () => {
      left = true;
    };
  }, [session]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim() !== '') props.onCreate(name.trim());
  };
  return (
    <>
      <h2>Branches</h2>
      {problem !== null && <p className="git-note">{problem}</p>}
      {branches === null && problem === null && <p className="git-note">Reading the branches…</p>}
      {branches?.length === 0 && <p className="git-note">The first commit begins the branch.</p>}
      <div className="git-branch-list">
        {branches?.map((branch) => (
          <button
            key={branch.name}
            type="button"
            className="git-branch-row"
            data-testid="branch-row"
            data-branch={branch.name}
            aria-current={branch.current || undefined}
            title={branch.subject}
            onClick={() => props.onSwitch(branch.name)}
          >
            {branch.current ? <Check size={13} aria-hidden /> : <span className="git-branch-gap" />}
            <span>{branch.name}</span>
          </button>
        ))}
      </div>
      <form className="git-new-branch" onSubmit={submit}>
        <input
          className="input"
          aria-label="Name of a new branch"
          data-testid="new-branch"
          placeholder="New branch from here"
          spellCheck={false}
          autoComplete="off"
          maxLength={200}
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
        <button
          type="submit"
          className="button"
          data-size="small"
          data-testid="create-branch"
          disabled={name.trim() === ''}
        >
          <Plus size={13} aria-hidden /> Create
        </button>
      </form>
    </>
  );
}
