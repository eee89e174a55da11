/**
 * Measures, on the real server with two real pages, how long it takes to join a call: from the click to the first frame of the other's camera that is
 * decoded and shown. Prints one line of JSON.
 */
import { joinCall, sees, talker } from './support/call.mjs';
import { summary } from './support/quantiles.mjs';
import { Stage } from './support/scenario.mjs';
import { until } from './support/wait.mjs';

const JOINS = 20;

/** Notes when the button is pressed here, and when the first frame is shown after that. */
const watch = (page) =>
  page.evaluate(() => {
    let watched = null;
    document.addEventListener(
      'click',
      ({ target }) => {
        if (target.closest('[data-testid="join-call"]'))
          [window.joinAt, window.frameAt] = [performance.now(), null];
      },
      true,
    );
    new MutationObserver(() => {
      const video = document.querySelector('[data-testid="tile"][data-name="Ada"] video');
      if (video === watched) return;
      watched = video;
      video?.requestVideoFrameCallback((now) => {
        window.frameAt = now;
      });
    }).observe(document.body, { subtree: true, childList: true });
  });

const stage = new Stage();
try {
  const server = await stage.server();
  const [ada, bob] = [await talker(stage, 'Ada'), await talker(stage, 'Bob')];
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  await joinCall(ada, { microphone: true, camera: true });
  await watch(bob.page);
  const joins = [];
  for (let join = 0; join < JOINS; join++) {
    await joinCall(bob);
    await sees(bob, 'Ada');
    joins.push(
      await until('the first frame', () =>
        bob.page.evaluate(() => window.frameAt && window.frameAt - window.joinAt),
      ),
    );
    await bob.get('leave-call').click();
    await bob.get('call-strip').waitFor({ state: 'detached' });
  }
  process.stdout.write(`${JSON.stringify({ click_to_first_frame_ms: summary(joins) })}\n`);
} finally {
  await stage.clear();
}
