/** The key of the room's calls, as far as it is shown: digits to compare, and a link to hand on. */
import { useEffect, useState } from 'react';
import { useStore } from '../../ui/store';
import { useMay } from '../access/useAccess';
import { useRoom } from '../room/roomContext';
import { CopyField } from '../share/copyField';
import { fingerprint, withKey } from './callKey';
import { KeyField } from './keyField';

export function KeyDetails() {
  const { session } = useRoom();
  const mayManage = useMay('manage');
  const { key } = useStore(session.callKeys.known);
  const [digits, setDigits] = useState('');
  const [changing, setChanging] = useState(false);
  useEffect(() => {
    let isCurrent = true;
    setDigits('');
    if (key !== null) void fingerprint(key).then((digits) => isCurrent && setDigits(digits));
    return () => {
      isCurrent = false;
    };
  }, [key]);
  if (key === null) return null;
  return (
    <div className="call-key">
      <p>
        Everybody with the same key sees the same digits. Read them to each other:{' '}
        <output className="call-digits" data-testid="call-digits">
          {digits}
        </output>
      </p>
      <CopyField
        key={key}
        label="Link with the key"
        value={withKey(location.origin + location.pathname, key)}
        testId="call-link"
      />
      <p className="share-note">
        Hand it on outside of this room: whoever has it can listen, and what stands in a room its server can
        read.
      </p>
      {changing ? (
        <KeyField label="Another key" isAsked onTaken={() => setChanging(false)} />
      ) : (
        <div className="call-answers">
          <button
            type="button"
            className="button"
            data-kind="quiet"
            data-size="small"
            data-testid="call-key-change"
            onClick={() => setChanging(true)}
          >
            Use another key
          </button>
          {mayManage && (
            <button
              type="button"
              className="button"
              data-kind="quiet"
              data-size="small"
              data-testid="call-key-new"
              onClick={() => session.callKeys.make()}
            >
              Make a new key
            </button>
          )}
        </div>
      )}
    </div>
  );
}
