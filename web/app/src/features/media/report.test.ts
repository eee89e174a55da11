import { describe, expect, it } from 'vitest';
import { reportOf, totals } from './report';

const pair = { type: 'candidate-pair', nominated: true, state: 'succeeded' };

describe('a report', () => {
  it('is what happened since the last, of all connections', () => {
    const before = totals(1000, [
      { type: 'outbound-rtp', packetsSent: 100, bytesSent: 1000 },
      { type: 'remote-inbound-rtp', packetsLost: 50 },
      { type: 'inbound-rtp', packetsReceived: 10, packetsLost: 0, bytesReceived: 0 },
    ]);
    const after = totals(4000, [
      { type: 'outbound-rtp', packetsSent: 200, bytesSent: 4000 },
      { type: 'outbound-rtp', packetsSent: 100, bytesSent: 3000 },
      { type: 'remote-inbound-rtp', packetsLost: 60 },
      { type: 'inbound-rtp', packetsReceived: 100, packetsLost: 5, bytesReceived: 750 },
      { type: 'inbound-rtp', packetsReceived: 100, packetsLost: 5, bytesReceived: 750 },
      { ...pair, currentRoundTripTime: 0.0404 },
      { ...pair, currentRoundTripTime: 0.02 },
      { ...pair, nominated: false, currentRoundTripTime: 9 },
      { type: 'codec' },
    ]);
    expect(reportOf(before, after)).toEqual({
      sent_lost: 50,
      received_lost: 50,
      round_trip: 40,
      sent: 16_000,
      received: 4000,
    });
  });

  it('says nothing of too few packets, and nothing that cannot be', () => {
    const none = totals(0, []);
    expect(reportOf(none, totals(0, []))).toMatchObject({ sent_lost: 0, received_lost: 0, sent: 0 });
    const few = totals(3000, [{ type: 'inbound-rtp', packetsReceived: 3, packetsLost: 3 }]);
    expect(reportOf(none, few).received_lost).toBe(0);
    const odd = [
      { type: 'outbound-rtp', packetsSent: 100, bytesSent: Number.NaN },
      { type: 'remote-inbound-rtp', packetsLost: 1e9 },
      { type: 'inbound-rtp', packetsReceived: 30, packetsLost: -7 },
      { ...pair, currentRoundTripTime: 1e9 },
    ];
    expect(reportOf(none, totals(3000, odd))).toEqual({
      sent_lost: 1000,
      received_lost: 0,
      round_trip: 65_535,
      sent: 0,
      received: 0,
    });
    // A line that was taken down took its numbers along.
    expect(reportOf(few, none)).toMatchObject({ received_lost: 0, received: 0 });
  });
});
