/** A shared screen as a pane that one can dock, float and take out of the page, and what the editor beside it makes of that. */
import assert from 'node:assert/strict';
import { arrived, joinCall, sees, talker, tile, twoInARoom } from '../support/call.mjs';
import { scenario } from '../support/scenario.mjs';
import { until } from '../support/wait.mjs';

const pane = (person, place) =>
  person.page.locator(`[data-testid="stage"]${place ? `[data-place="${place}"]` : ''}`);

const picture = (person) => pane(person).locator('[data-testid="video"][data-shown]');

const line = (person) => person.page.getByRole('separator', { name: 'Size of the shared screen' });

const share = (person) => person.get('control-screen').click();

async function put(person, place) {
  await person.get('dock-place').click();
  await person.get(`dock-${place}`).click();
  await pane(person, place).waitFor();
}

const width = async (locator) => (await locator.boundingBox()).width;

/** How far the open text is scrolled, and where its caret is. */
const view = (person) =>
  person.page.locator('[data-testid="editor"] .monaco-editor').evaluate((editor) => {
    const { top, left } = editor.querySelector('.cursor').style;
    return JSON.stringify([editor.querySelector('.lines-content').style.top, top, left]);
  });

async function sharing(stage, options) {
  const two = await twoInARoom(stage, options);
  await two.bob.editor('README.md').locator('.view-lines').waitFor();
  await joinCall(two.ada);
  await joinCall(two.bob);
  return two;
}

scenario('a shared screen docks beside the editor, which stays where it is', async (stage) => {
  const { ada, bob } = await sharing(stage);
  const lines = Array.from({ length: 200 }, (_, at) => `line ${at}`).join('\n');
  await bob.insert('README.md', `\n${lines}\n`);
  for (let page = 0; page < 4; page++) await bob.page.keyboard.press('PageUp');
  const centre = bob.page.locator('.centre');
  const wide = await width(centre);
  await bob.page.waitForTimeout(500);
  const before = await view(bob);
  await share(ada);
  await picture(bob).waitFor();
  for (const place of ['left', 'right', 'bottom']) {
    await put(bob, place);
    await picture(bob).waitFor();
    assert.ok(Math.abs((await width(centre)) - (place === 'bottom' ? wide : wide / 2)) < 2, place);
    assert.equal(await view(bob), before, `${place} of the editor`);
  }

  // By keyboard alone, and remembered.
  await put(bob, 'right');
  await line(bob).focus();
  const size = Number(await line(bob).getAttribute('aria-valuenow'));
  await bob.page.keyboard.press('ArrowRight');
  await bob.page.keyboard.press('ArrowRight');
  assert.equal(Number(await line(bob).getAttribute('aria-valuenow')), size - 48);
  const smaller = await width(pane(bob));
  assert.ok(Math.abs(smaller - (size - 48)) < 2);
  assert.equal(await view(bob), before, 'after the line was moved');
  // Escape goes on in the editor and leaves the pane where it is.
  await bob.get('dock-view').focus();
  await bob.page.keyboard.press('Escape');
  await until('the editor to have the keyboard', () =>
    bob.page.evaluate(() => document.activeElement.closest('.monaco-editor') !== null),
  );
  await pane(bob, 'right').waitFor();
  assert.equal(await view(bob), before, 'with the keyboard in it');

  await bob.page.reload();
  await bob.inRoom();
  await joinCall(bob);
  await pane(bob, 'right').waitFor();
  assert.ok(Math.abs((await width(pane(bob))) - smaller) < 2, 'as large as it was');

  // With the share its pane ends, and gives back what it took.
  await share(ada);
  await pane(bob).waitFor({ state: 'detached' });
  assert.equal(await line(bob).count(), 0);
  assert.equal(await width(centre), wide);
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a shared screen floats, is zoomed into, and has a window of its own', async (stage) => {
  const { ada, bob } = await sharing(stage);
  await share(ada);
  await picture(bob).waitFor();
  await put(bob, 'floating');
  const box = await pane(bob).boundingBox();
  await bob.get('dock-move').focus();
  await bob.page.keyboard.press('ArrowLeft');
  await bob.page.keyboard.press('ArrowUp');
  await bob.page.keyboard.press('Shift+ArrowLeft');
  await bob.page.mouse.move(box.x + 200, box.y - 12);
  await bob.page.mouse.down();
  await bob.page.mouse.move(box.x + 100, box.y - 112, { steps: 4 });
  await bob.page.mouse.up();
  const moved = { x: box.x - 124, y: box.y - 124, width: box.width - 24, height: box.height };
  assert.deepEqual(await pane(bob).boundingBox(), moved);

  const seen = bob.get('dock-view');
  await seen.focus();
  await bob.page.keyboard.press('1');
  assert.equal(await seen.getAttribute('data-zoom'), '1');
  const scrolled = () => seen.evaluate((element) => element.scrollLeft);
  const from = await scrolled();
  await bob.page.keyboard.press('ArrowRight');
  let at = from;
  // The browser moves it there smoothly.
  await until('it to be moved by keys', async () => {
    const before = at;
    at = await scrolled();
    return at > from && at === before;
  });
  const middle = await seen.boundingBox();
  await bob.page.mouse.move(middle.x + 100, middle.y + 100);
  await bob.page.mouse.down();
  await bob.page.mouse.move(middle.x + 160, middle.y + 100, { steps: 3 });
  await bob.page.mouse.up();
  assert.equal(await scrolled(), Math.max(0, at - 60));
  await bob.page.keyboard.press('0');
  assert.equal(await seen.getAttribute('data-zoom'), 'fit');

  await bob.page.reload();
  await bob.inRoom();
  await joinCall(bob);
  await pane(bob, 'floating').waitFor();
  assert.deepEqual(await pane(bob).boundingBox(), moved);
  const [apart] = await Promise.all([bob.context.waitForEvent('page'), bob.get('dock-window').click()]);
  await apart.locator('[data-testid="stage"] [data-testid="video"][data-shown]').waitFor();
  assert.equal(await pane(bob).count(), 0);
  // Its keys are those of the page.
  const pressed = () => bob.get('control-microphone').getAttribute('aria-pressed');
  await apart.getByTestId('dock-view').focus();
  await apart.keyboard.press('Control+Shift+KeyM');
  await until('Bob to be unmuted', async () => (await pressed()) === 'true');
  await apart.keyboard.press('Control+Shift+KeyM');
  await until('Bob to be muted', async () => (await pressed()) === 'false');
  await apart.getByTestId('dock-back').click();
  await pane(bob, 'floating').waitFor();
  const [again] = await Promise.all([bob.context.waitForEvent('page'), bob.get('dock-window').click()]);
  await again.locator('[data-testid="stage"]').waitFor();
  await share(ada);
  await until('its window to be closed', async () => again.isClosed());
  await share(ada);
  await pane(bob, 'floating').waitFor();
  await bob.get('dock-view').focus();
  await bob.page.keyboard.press('Escape');
  await pane(bob).waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('of two shared screens one is chosen, and the other stays when that ends', async (stage) => {
  const { server, ada, bob } = await sharing(stage);
  const eve = await talker(stage, 'Eve');
  await eve.join(server, new URL(ada.page.url()).pathname.split('/').at(-1));
  await joinCall(eve);
  await share(ada);
  await picture(bob).waitFor();
  await put(bob, 'right');
  await share(eve);
  const tab = (name) => bob.page.locator(`[data-testid="dock-tab"][data-name="${name}"]`);
  // Nothing is put in place of what he looks at.
  await tab('Eve').waitFor();
  assert.equal(await tab('Ada').getAttribute('aria-selected'), 'true');
  await tab('Ada').focus();
  await bob.page.keyboard.press('ArrowRight');
  assert.equal(await tab('Eve').getAttribute('aria-selected'), 'true');
  await picture(bob).waitFor();
  await share(eve);
  await bob.get('dock-tab').first().waitFor({ state: 'detached' });
  await pane(bob, 'right').getByRole('heading', { name: "Ada's screen" }).waitFor();
  // On a phone there is one thing at a time.
  await bob.page.setViewportSize({ width: 390, height: 844 });
  await pane(bob, 'stage').waitFor();
  assert.equal(await bob.get('dock-place').count(), 0);
  await bob.page.setViewportSize({ width: 1440, height: 900 });
  await pane(bob, 'right').waitFor();
  assert.deepEqual([...ada.problems, ...bob.problems, ...eve.problems], []);
});

scenario('a picture is sent as large as its pane is', async (stage) => {
  const { ada, bob } = await sharing(stage);
  await ada.get('control-camera').click();
  await sees(bob, 'Ada');
  await tile(bob, 'Ada').hover();
  await tile(bob, 'Ada').getByTestId('enlarge').click();
  const isWide = (...widths) =>
    until(
      `a picture of ${widths}`,
      async () => (await arrived(bob)).widths.some((wide) => widths.includes(wide)),
      60_000,
    );
  await isWide(1280);
  await put(bob, 'right');
  await isWide(640);
  await line(bob).focus();
  await bob.page.keyboard.press('Home');
  await isWide(320);
  await bob.page.keyboard.press('End');
  await isWide(640, 1280);
  await ada.get('control-camera').click();
  await pane(bob).waitFor({ state: 'detached' });
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});
