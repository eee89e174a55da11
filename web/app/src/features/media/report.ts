/** How this page's connections are, from what the browser counts. Pure. */

/** What the server is told; docs/protocols.md has the units. */
export interface Report {
  /** Packets in a thousand that did not arrive. */
  sent_lost: number;
  received_lost: number;
  /** Milliseconds. */
  round_trip: number;
  /** Bits in a second. */
  sent: number;
  received: number;
}

/** Sums since a connection began. */
export interface Totals {
  at: number;
  sentPackets: number;
  sentLost: number;
  sentBytes: number;
  receivedPackets: number;
  receivedLost: number;
  receivedBytes: number;
  roundTrip: number;
}

/** Of fewer packets a lost one says nothing: a muted microphone sends some now and then. */
const ENOUGH = 20;

const LATEST = 65_535;

/** What the browser's reports of all connections come to. */
export function totals(at: number, reports: Iterable<Record<string, unknown>>): Totals {
  const sum: Totals = {
    at,
    sentPackets: 0,
    sentLost: 0,
    sentBytes: 0,
    receivedPackets: 0,
    receivedLost: 0,
    receivedBytes: 0,
    roundTrip: 0,
  };
  const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
  for (const report of reports)
    switch (report.type) {
      case 'outbound-rtp':
        sum.sentPackets += number(report.packetsSent);
        sum.sentBytes += number(report.bytesSent);
        break;
      case 'remote-inbound-rtp':
        sum.sentLost += number(report.packetsLost);
        break;
      case 'inbound-rtp':
        sum.receivedPackets += number(report.packetsReceived);
        sum.receivedLost += number(report.packetsLost);
        sum.receivedBytes += number(report.bytesReceived);
        break;
      case 'candidate-pair':
        // Of pairs that are not used nothing new is known.
        if (report.nominated === true && report.state === 'succeeded')
          sum.roundTrip = Math.max(sum.roundTrip, number(report.currentRoundTripTime) * 1000);
        break;
    }
  return sum;
}

export function reportOf(before: Totals, after: Totals): Report {
  const seconds = Math.max(after.at - before.at, 1) / 1000;
  // A line that carries another track begins to count anew.
  const more = (key: keyof Totals) => Math.max(after[key] - before[key], 0);
  const share = (lost: number, all: number) =>
    all < ENOUGH ? 0 : Math.min(Math.round((1000 * lost) / all), 1000);
  return {
    sent_lost: share(more('sentLost'), more('sentPackets')),
    received_lost: share(more('receivedLost'), more('receivedPackets') + more('receivedLost')),
    round_trip: Math.min(Math.round(after.roundTrip), LATEST),
    sent: Math.round((8 * more('sentBytes')) / seconds),
    received: Math.round((8 * more('receivedBytes')) / seconds),
  };
}
