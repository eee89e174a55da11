/** Before the call: whether it is encrypted, whether this page can take part then, and for hosts the switch. */
import { LockKeyhole, LockKeyholeOpen, TriangleAlert } from 'lucide-react';
import { useRef, useState } from 'react';
import { sentence } from '../../api/client';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import './e2ee.css';
import { mayJoin, type Standing, standingOf } from './encryptionModel';
import { KeyDetails } from './keyDetails';
import { KeyField } from './keyField';
import { canSeal } from './sealing';

export interface Encrypting {
  standing: Standing;
  mayJoin: boolean;
  /** The key to join with; `null`: without encryption. */
  joinsWith: string | null;
}

export function useEncryption(): Encrypting {
  const { media, callKeys } = useRoom().session;
  const encrypted = useStore(media.encrypted);
  const known = useStore(callKeys.known);
  const standing = standingOf({ encrypted, canSeal: canSeal(), ...known });
  return { standing, mayJoin: mayJoin(standing), joinsWith: standing === 'ready' ? known.key : null };
}

/** `isEmpty`: nobody is in the call, so that the switch can be used. */
export function Encryption(props: { encryption: Encrypting; isEmpty: boolean }) {
  const { session } = useRoom();
  const { standing } = props.encryption;
  const mayManage = useMay('manage');
  /** What it is being turned to. Meanwhile key and setting do not fit each other, which is nobody's business. */
  const [turning, setTurning] = useState<boolean | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  // Whoever turns it off by mistake turns it on again with the key that others have.
  const last = useRef<string | null>(null);
  const turn = async (on: boolean) => {
    if (turning !== null) return;
    setTurning(on);
    setProblem(null);
    const { api, callKeys, media, room } = session;
    try {
      const { encrypted } = await api.encryptCalls(room.id, on);
      if (encrypted && callKeys.key === null) {
        if (last.current === null) callKeys.make();
        else callKeys.take(last.current);
      } else if (!encrypted) {
        // Whoever turns it off knows that it is off.
        last.current = callKeys.key;
        callKeys.forget();
      }
      media.encrypted.set(encrypted);
    } catch (error) {
      setProblem(sentence(error));
    }
    setTurning(null);
  };
  const can = standing === 'off' ? canSeal() : standing !== 'contradiction';
  const hasSwitch = mayManage && props.isEmpty && (turning !== null || can);
  return (
    <section className="call-encryption" data-testid="call-encryption" data-standing={standing}>
      {turning === null && <Words standing={standing} mayManage={mayManage} />}
      {hasSwitch && (
        <Switch on={turning ?? standing !== 'off'} isBusy={turning !== null} onTurn={(on) => void turn(on)} />
      )}
      {problem && (
        <p className="notice" data-tone="bad" role="alert" data-testid="encrypt-calls-problem">
          {problem}
        </p>
      )}
    </section>
  );
}

function Words({ standing, mayManage }: { standing: Standing; mayManage: boolean }) {
  const { callKeys } = useRoom().session;
  switch (standing) {
    case 'off':
      return null;
    case 'contradiction':
      return (
        <div className="notice call-encryption-notice" data-tone="bad" role="alert">
          <TriangleAlert size={14} aria-hidden />
          <div>
            <p>
              This browser has a key for this room's calls, but the server says that they are{' '}
              <b>not encrypted</b>. A host may have turned that off: ask one. If you join, the server can hear
              and see you.
            </p>
            <button
              type="button"
              className="button"
              data-kind="quiet"
              data-size="small"
              data-testid="call-key-forget"
              onClick={() => callKeys.forget()}
            >
              Forget the key
            </button>
          </div>
        </div>
      );
    case 'unsupported':
      return (
        <div className="notice call-encryption-notice" data-tone="bad" role="alert">
          <TriangleAlert size={14} aria-hidden />
          <p>
            This call is end-to-end encrypted, which this browser cannot do. Use a current Chrome, Edge,
            Firefox or Safari, over HTTPS.
          </p>
        </div>
      );
    case 'keyless':
      return (
        <div className="notice call-encryption-notice">
          <LockKeyhole size={14} aria-hidden />
          <div>
            <p>
              <b>This call is end-to-end encrypted.</b> Open it with a link that has the key, or paste the
              key. Whoever is in the call has both behind the lock.
            </p>
            <KeyField label="The key of this room's calls" />
            {mayManage && (
              <p className="share-note">
                Is the key lost?{' '}
                <button
                  type="button"
                  className="button"
                  data-kind="quiet"
                  data-size="small"
                  data-testid="call-key-new"
                  onClick={() => callKeys.make()}
                >
                  Make a new one
                </button>{' '}
                Everybody then needs the new one.
              </p>
            )}
          </div>
        </div>
      );
    case 'offered':
      return <Offered />;
    case 'ready':
      return (
        <div className="notice call-encryption-notice" data-tone="ok">
          <LockKeyhole size={14} aria-hidden />
          <div>
            <p>
              <b>This call is end-to-end encrypted.</b> The server passes on what it cannot hear or see.
            </p>
            <KeyDetails />
          </div>
        </div>
      );
  }
}

/** A link brought another key than the one that this browser had. */
export function Offered() {
  const { callKeys } = useRoom().session;
  const { offered } = useStore(callKeys.known);
  if (offered === null) return null;
  return (
    <div className="notice call-encryption-notice" role="alert" data-testid="call-key-offered">
      <LockKeyhole size={14} aria-hidden />
      <div>
        <p>
          The link that you opened has <b>another key</b> for this room's calls than this browser knows. Take
          it only if you trust whom you have the link from.
        </p>
        <div className="call-answers">
          <button
            type="button"
            className="button"
            data-size="small"
            data-testid="call-key-take"
            onClick={() => callKeys.take(offered)}
          >
            Use the link's key
          </button>
          <button
            type="button"
            className="button"
            data-kind="quiet"
            data-size="small"
            data-testid="call-key-keep"
            onClick={() => callKeys.decline()}
          >
            Keep mine
          </button>
        </div>
      </div>
    </div>
  );
}

function Switch(props: { on: boolean; isBusy: boolean; onTurn: (on: boolean) => void }) {
  return (
    <label className="call-encryption-switch">
      <input
        type="checkbox"
        data-testid="encrypt-calls"
        checked={props.on}
        // Not `disabled`, which would take the focus away, and the dialog's keys with it.
        aria-disabled={props.isBusy}
        onChange={(event) => props.onTurn(event.target.checked)}
      />
      {props.on ? <LockKeyhole size={14} aria-hidden /> : <LockKeyholeOpen size={14} aria-hidden />}
      End-to-end encrypt this room's calls
    </label>
  );
}
