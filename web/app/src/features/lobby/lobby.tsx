/** The start page: a name, a template or a repository, a room. Rooms this browser knows stand below. */
import {
  ArrowRight,
  Braces,
  FileArchive,
  FileCode2,
  FolderGit2,
  Loader,
  type LucideIcon,
} from 'lucide-react';
import { type FormEvent, useEffect, useState } from 'react';
import { Api, sentence } from '../../api/client';
import type { Template } from '../../api/types';
import { go } from '../../router';
import { recentRooms } from '../../session/recentRooms';
import type { SessionStore } from '../../session/session';
import { Logo } from '../../ui/logo';
import { useStore } from '../../ui/store';
import { ago } from '../runs/format';
import './lobby.css';
import { LobbyTheme } from './lobbyTheme';
import { Vignette } from './vignette';

export function Lobby(props: { sessions: SessionStore }) {
  const { sessions } = props;
  const me = useStore(sessions);
  const [name, setName] = useState(me?.person.name ?? '');
  const [title, setTitle] = useState('');
  const [chosen, setChosen] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const { templates, trouble, retry } = useTemplates(sessions);
  const [recent] = useState(() => recentRooms());
  const [url, setUrl] = useState('');
  const [archive, setArchive] = useState<File | null>(null);
  const fromRepository = chosen === REPOSITORY.id;
  const fromArchive = chosen === ARCHIVE.id;
  const template = templates?.find((t) => t.id === chosen) ?? templates?.[0];
  const begins = fromRepository ? url.trim() !== '' : fromArchive ? archive !== null : template !== undefined;
  const ready = name.trim() !== '' && begins;
  const placeholder = fromRepository
    ? 'The repository’s name'
    : fromArchive
      ? 'The file’s name'
      : (template?.title ?? '');

  useEffect(() => {
    document.title = 'BuildSpaces';
    // The room's code is fetched while the name is typed, so that the room opens at once.
    const timer = setTimeout(() => {
      void import('../room/roomPage');
      void import('../editor/editorArea');
    }, 400);
    return () => clearTimeout(timer);
  }, []);

  const create = async (event: FormEvent) => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await sessions.signIn(name.trim());
      const api = new Api(sessions);
      const room =
        fromArchive && archive
          ? await api.uploadRoom(title.trim() || nameOf(archive), archive)
          : fromRepository || !template
            ? await api.createRoom(title.trim(), { repository: { url: url.trim() } })
            : await api.createRoom(title.trim() || template.title, { template: template.id });
      // What is on its way is what one wants to see.
      if (fromRepository) sessionStorage.setItem('buildspaces.lower', 'changes');
      go(`/r/${room.id}`);
    } catch (error) {
      setProblem(sentence(error));
      setBusy(false);
    }
  };

  return (
    <main className="lobby">
      <header className="lobby-top">
        <Logo size={26} />
        <span>BuildSpaces</span>
        <LobbyTheme />
      </header>
      <div className="lobby-columns">
        <section className="lobby-intro">
          <h1>Write code together. See it tested as you type.</h1>
          <p>
            A room is a workspace several people edit at the same time. Each change runs the tests in a
            sandbox of the room, and everyone sees the result.
          </p>
          {recent.length === 0 && <Vignette />}
          {recent.length > 0 && (
            <nav className="lobby-recent" aria-label="Recent rooms">
              <h2>Recent rooms</h2>
              <ul>
                {recent.map((room) => (
                  <li key={room.id}>
                    <a
                      href={`/r/${room.id}`}
                      data-testid="recent-room"
                      data-room={room.id}
                      onClick={(event) => {
                        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                        event.preventDefault();
                        go(`/r/${room.id}`);
                      }}
                    >
                      <span>{room.title}</span>
                      <small>opened {ago(room.openedAt, Date.now())}</small>
                      <ArrowRight size={15} aria-hidden />
                    </a>
                  </li>
                ))}
              </ul>
            </nav>
          )}
        </section>
        <form className="lobby-form" onSubmit={create} aria-label="Create a room">
          <h2>New room</h2>
          <label className="field">
            <span>Your name</span>
            <input
              className="input"
              data-testid="lobby-name"
              value={name}
              maxLength={40}
              autoComplete="nickname"
              placeholder="What others see next to your cursor"
              // biome-ignore lint/a11y/noAutofocus: on a first visit the name is the first thing to do.
              autoFocus={me === null}
              onChange={(event) => setName(event.target.value)}
            />
          </label>
          <fieldset className="templates">
            <legend className="field-label">Start from</legend>
            {templates === null && !trouble && (
              <div className="template-skeletons" role="status" aria-label="Loading the templates">
                <span />
                <span />
              </div>
            )}
            {trouble && (
              <p className="notice" data-tone="bad" role="alert">
                <span>{trouble}</span>
                <button type="button" className="button" data-size="small" onClick={retry}>
                  Try again
                </button>
              </p>
            )}
            {templates?.map((t) => (
              <TemplateCard
                key={t.id}
                template={t}
                checked={!fromRepository && !fromArchive && t === template}
                onChoose={() => setChosen(t.id)}
              />
            ))}
            <TemplateCard
              template={REPOSITORY}
              checked={fromRepository}
              onChoose={() => setChosen(REPOSITORY.id)}
            />
            <TemplateCard template={ARCHIVE} checked={fromArchive} onChoose={() => setChosen(ARCHIVE.id)} />
          </fieldset>
          {fromArchive && (
            <label className="field">
              <span>The project as one file</span>
              <input
                type="file"
                data-testid="room-archive"
                accept=".zip,.tgz,.gz"
                onChange={(event) => setArchive(event.target.files?.[0] ?? null)}
              />
            </label>
          )}
          {fromRepository && (
            <label className="field">
              <span>Address of the repository</span>
              <input
                className="input"
                type="url"
                data-testid="room-repository"
                value={url}
                maxLength={1000}
                placeholder="https://host/team/project.git"
                onChange={(event) => setUrl(event.target.value)}
              />
            </label>
          )}
          <label className="field">
            <span>
              Title of the room <em>(optional)</em>
            </span>
            <input
              className="input"
              data-testid="room-title"
              value={title}
              maxLength={80}
              placeholder={placeholder}
              onChange={(event) => setTitle(event.target.value)}
            />
          </label>
          {problem && (
            <p className="notice" data-tone="bad" role="alert" data-testid="lobby-error">
              {problem}
            </p>
          )}
          <button
            type="submit"
            className="button"
            data-kind="primary"
            data-size="large"
            data-testid="create-room"
            disabled={busy || !ready}
          >
            {busy && <Loader size={15} className="spin" aria-hidden />}
            {busy ? 'Creating the room…' : 'Create room'}
          </button>
        </form>
      </div>
    </main>
  );
}

/** What a room can begin with besides templates. */
const REPOSITORY: Template = {
  id: 'repository',
  title: 'A git repository',
  description: 'Fetched from a server that sandboxes may reach.',
  language: 'Git',
};

const ARCHIVE: Template = {
  id: 'upload',
  title: 'A project from your machine',
  description: 'Packed as .zip or .tar.gz, of at most 64 MiB.',
  language: 'Archive',
};

/** What the project is called, by its file's name. */
function nameOf(archive: File): string {
  return archive.name.replace(/\.(zip|tgz|tar\.gz)$/i, '').slice(0, 80) || 'Project';
}

const ICONS: Record<string, LucideIcon> = {
  Python: FileCode2,
  JavaScript: Braces,
  Git: FolderGit2,
  Archive: FileArchive,
};

function TemplateCard(props: { template: Template; checked: boolean; onChoose: () => void }) {
  const { template, checked } = props;
  const Icon = ICONS[template.language] ?? FileCode2;
  return (
    <label
      className="template"
      data-testid="template-card"
      data-template={template.id}
      data-checked={checked || undefined}
    >
      <input type="radio" name="template" checked={checked} onChange={props.onChoose} />
      <Icon size={20} strokeWidth={1.6} aria-hidden />
      <span>
        <strong>{template.title}</strong>
        <small>{template.description}</small>
      </span>
    </label>
  );
}

function useTemplates(sessions: SessionStore) {
  const [templates, setTemplates] = useState<Template[] | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: an attempt is what loads again.
  useEffect(() => {
    let left = false;
    new Api(sessions).templates().then(
      (list) => !left && setTemplates(list),
      (error: unknown) => !left && setTrouble(sentence(error)),
    );
    return () => {
      left = true;
    };
  }, [sessions, attempt]);
  const retry = () => {
    setTrouble(null);
    setAttempt((n) => n + 1);
  };
  return { templates, trouble, retry };
}
