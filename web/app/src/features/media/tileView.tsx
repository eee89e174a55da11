/** One person or one shared screen in a call. It can be shown large; hosts can mute, stop and ask. */
import {
  Hand,
  Maximize2,
  MicOff,
  Minimize2,
  MonitorUp,
  MonitorX,
  Signal,
  SignalMedium,
  VideoOff,
  WifiOff,
} from 'lucide-react';
import { initials } from '../../ui/color';
import { useStore } from '../../ui/store';
import { Tip } from '../../ui/tip';
import { notify } from '../../ui/toast';
import { useMay } from '../access/useAccess';
import { UnreadableNote, useUnreadable } from '../e2ee/unreadableTile';
import { HandOnTile, ReactionOnTile } from '../reactions/reactionView';
import { useRoom } from '../room/roomContext';
import { possessive } from '../runs/format';
import { type Quality, qualityWords, type Tile, tileWords, trackOf } from './mediaModel';
import { useLost } from './useLost';
import { VideoView } from './videoView';

/** The picture of a tile, if there is one to show. */
export function usePicture(tile: Tile): MediaStreamTrack | null {
  const { call } = useRoom().session;
  const remote = useStore(call.remote);
  const local = useStore(call.local);
  const { paused, undecodable } = useStore(call.held);
  const unreadable = useStore(call.unreadable);
  if (tile.self) return local[tile.source];
  const track = trackOf(tile.participant, tile.source);
  const isHeld = (id: string) => paused.has(id) || undecodable.has(id) || unreadable.has(id);
  return track && !track.muted && !isHeld(track.id) ? (remote.get(track.id) ?? null) : null;
}

export function TileView(props: { tile: Tile; staged: boolean; onStage: () => void }) {
  const { tile, staged } = props;
  const { participant, source, self } = tile;
  const { call, media } = useRoom().session;
  const moderator = useMay('moderate');
  const speaking = useStore(media.speakers).includes(participant.id);
  const picture = usePicture(tile);
  const { paused, undecodable } = useStore(call.held);
  const own = trackOf(participant, source);
  const isPaused = own !== null && paused.has(own.id);
  const isUndecodable = own !== null && !own.muted && undecodable.has(own.id);
  const microphone = trackOf(participant, 'microphone');
  const muted = microphone === null || microphone.muted;
  const voice = `${participant.id}/microphone`;
  const { name, color } = participant.person;
  const lost = useLost();
  const quality = participant.quality && (participant.away || (self && lost)) ? 'lost' : participant.quality;
  const isStream = participant.kind === 'stream';
  const words = tileWords(tile);
  const unreadable = useUnreadable(tile);
  const large = picture !== null && !(self && source === 'screen');
  const whose = possessive(name);
  const stop = source === 'screen' ? `Stop ${whose} shared screen` : `Turn ${whose} camera off`;
  return (
    <div
      className="tile"
      data-testid="tile"
      data-name={name}
      data-source={source}
      data-kind={participant.kind}
      data-self={self || undefined}
      data-speaking={(speaking && source === 'camera') || undefined}
      data-muted={(source === 'camera' && muted) || undefined}
      data-away={participant.away || undefined}
      data-staged={staged || undefined}
      data-paused={isPaused || undefined}
      data-unreadable={unreadable || undefined}
      data-undecodable={isUndecodable || undefined}
    >
      {picture ? (
        <VideoView track={picture} mirrored={self && source === 'camera'} whole={source === 'screen'} />
      ) : (
        <span className="tile-avatar" style={{ backgroundColor: color }} data-kind={participant.kind}>
          {initials(name)}
        </span>
      )}
      {unreadable && <UnreadableNote />}
      {isUndecodable && (
        <span className="tile-note" role="status" data-testid="undecodable">
          <VideoOff size={14} aria-hidden />
          This device cannot show this picture
        </span>
      )}
      <span className="tile-name">
        {participant.away && !quality ? (
          <WifiOff size={12} aria-label="lost the connection" />
        ) : isPaused ? (
          <SignalMedium size={12} aria-label="paused, because your connection is slow" />
        ) : source === 'screen' ? (
          <MonitorUp size={12} aria-hidden />
        ) : (
          muted && <MicOff size={12} aria-label="muted" />
        )}
        <span>{words}</span>
      </span>
      {quality && source === 'camera' && (
        <QualityBadge quality={quality} words={qualityWords(name, self, quality)} />
      )}
      {source === 'camera' && (
        <>
          <HandOnTile participant={participant} self={self} />
          <ReactionOnTile participant={participant} />
        </>
      )}
      <span className="tile-actions">
        {moderator && !self && source === 'camera' && (!muted || (participant.speaks && !isStream)) && (
          <Tip text={muted ? `Ask ${name} to unmute` : `Mute ${name}`}>
            <button
              type="button"
              className="tile-action"
              data-testid={muted ? 'ask-unmute' : 'mute-other'}
              aria-label={muted ? `Ask ${name} to unmute` : `Mute ${name}`}
              // Whoever joined muted may have none so far.
              onClick={() => {
                if (!muted) return call.mute(voice);
                if (call.askFor(voice)) notify(`${name} is asked to unmute.`);
                else notify('The connection is lost. Ask again when it has come back.', 'bad');
              }}
            >
              {muted ? <Hand size={13} /> : <MicOff size={13} />}
            </button>
          </Tip>
        )}
        {moderator && !self && own !== null && !own.muted && (
          <Tip text={stop}>
            <button
              type="button"
              className="tile-action"
              data-testid={`stop-${source}`}
              aria-label={stop}
              onClick={() => call.mute(own.id)}
            >
              {source === 'screen' ? <MonitorX size={13} /> : <VideoOff size={13} />}
            </button>
          </Tip>
        )}
        {large && (
          <Tip text={staged ? `Show ${words} small` : `Show ${words} large`}>
            <button
              type="button"
              className="tile-action"
              data-testid="enlarge"
              aria-label={staged ? `Show ${words} small` : `Show ${words} large`}
              aria-pressed={staged}
              onClick={props.onStage}
            >
              {staged ? <Minimize2 size={13} /> : <Maximize2 size={13} />}
            </button>
          </Tip>
        )}
      </span>
    </div>
  );
}

function QualityBadge({ quality, words }: { quality: Quality; words: string }) {
  const Icon = quality === 'good' ? Signal : quality === 'lost' ? WifiOff : SignalMedium;
  return (
    <Tip text={words}>
      <span
        className="tile-quality"
        role="img"
        aria-label={words}
        data-testid="quality"
        data-quality={quality}
      >
        <Icon size={12} aria-hidden />
      </span>
    </Tip>
  );
}
