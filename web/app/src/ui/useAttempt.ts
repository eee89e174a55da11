/** One thing at a time that may fail: whether it is under way, and what went wrong with the last one as a sentence. */
import { useState } from 'react';
import { sentence } from '../api/client';

export function useAttempt() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const attempt = async (work: () => Promise<void>) => {
    if (busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(sentence(error));
    }
    setBusy(false);
  };
  return { busy, problem, setProblem, attempt };
}
