/** Who wrote each line of an open file: asked for when it is shown, and again some time after somebody typed. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { sentence } from '../../api/client';
import type { Author } from '../../api/types';
import type { FileSession } from '../editor/fileSessions';
import type { monaco } from '../editor/monaco';
import { useRoom } from '../room/roomContext';
import { type BlamedText, blamedText, fitted, type LineBlame } from './blame';

/** After typing stopped for this long, the new lines' authors are asked for. */
const QUIET_MS = 1500;

export interface Blame {
  /** One per line of the text as it is now; `null` where it is not known yet. */
  lines: readonly (LineBlame | null)[];
  authors: ReadonlyMap<string, Author>;
}

export function useBlame(file: FileSession, model: monaco.editor.ITextModel | null) {
  const { session } = useRoom();
  const known = useRef<{ blamed: BlamedText; authors: ReadonlyMap<string, Author> } | null>(null);
  const [blame, setBlame] = useState<Blame | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  const refit = useCallback(() => {
    if (!known.current || !model || model.isDisposed()) return;
    setBlame({ lines: fitted(known.current.blamed, model.getValue()), authors: known.current.authors });
  }, [model]);

  useEffect(() => {
    if (!model) return;
    let left = false;
    let quiet: ReturnType<typeof setTimeout> | null = null;
    let frame: number | null = null;
    const ask = () => {
      quiet = null;
      session.api.blame(file.session.name).then(
        (answer) => {
          if (left) return;
          const authors = new Map(answer.authors.map((author) => [author.id, author]));
          known.current = { blamed: blamedText(answer.ranges), authors };
          setProblem(null);
          refit();
        },
        (error: unknown) => !left && setProblem(sentence(error)),
      );
    };
    const changed = model.onDidChangeContent(() => {
      frame ??= requestAnimationFrame(() => {
        frame = null;
        refit();
      });
      if (quiet) clearTimeout(quiet);
      quiet = setTimeout(ask, QUIET_MS);
    });
    ask();
    return () => {
      left = true;
      changed.dispose();
      if (quiet) clearTimeout(quiet);
      if (frame !== null) cancelAnimationFrame(frame);
    };
  }, [session, file, model, refit]);

  return { blame, problem };
}
