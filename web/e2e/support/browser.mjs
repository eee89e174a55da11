/** Chromium, and a person who sits before a page of it. Elements are found by the app's test ids alone. */
import { chromium } from 'playwright-core';
import { PATIENCE_MS, until } from './wait.mjs';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Pages that are not in front must go on drawing, because two people look at the same time here.
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  // A camera that shows a clock, a microphone that beeps; whoever may not use them is refused all the same.
  '--use-fake-device-for-media-stream',
  // The screen that is shared.
  '--auto-select-tab-capture-source-by-title=BuildSpaces',
];

/** At the end of a `line`, or on this machine. */
export function launch(line) {
  const executablePath = line?.chromium ?? process.env.CHROMIUM ?? '/usr/bin/chromium';
  // Its address is no secure one, and its page needs what only those may.
  const args = line
    ? [...FLAGS, ...line.flags, `--unsafely-treat-insecure-origin-as-secure=${line.url}`]
    : FLAGS;
  return chromium.launch({ executablePath, args });
}

export class Person {
  /** A fresh browser profile. */
  static async arrive(browser, name, options = {}) {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      colorScheme: 'dark',
      ...options,
    });
    context.setDefaultTimeout(PATIENCE_MS);
    const person = new Person();
    Object.assign(person, { name, context, page: await context.newPage(), problems: [] });
    person.page.on('pageerror', (error) => person.problems.push(String(error)));
    return person;
  }

  leave() {
    return this.context.close();
  }

  get(id) {
    return this.page.getByTestId(id);
  }

  /** From the start page into a new room; returns the room's id. */
  async createRoom(server, template, title) {
    await this.page.goto(`${server.url}/`);
    await this.get('lobby-name').fill(this.name);
    await this.page.locator(`[data-testid="template-card"][data-template="${template}"]`).click();
    if (title) await this.get('room-title').fill(title);
    await this.get('create-room').click();
    await this.page.waitForURL(/\/r\/[^/]+$/);
    await this.inRoom();
    return new URL(this.page.url()).pathname.split('/').at(-1);
  }

  /** By the room's link, with a name that is asked for. */
  async join(server, room) {
    await this.page.goto(`${server.url}/r/${room}`);
    await this.get('join-name').fill(this.name);
    await this.get('join-button').click();
    await this.inRoom();
  }

  async inRoom() {
    await this.get('tree-item').first().waitFor();
  }

  item(path) {
    return this.page.locator(`[data-testid="tree-item"][data-path="${path}"]`);
  }

  sees(path) {
    return this.item(path).waitFor({ state: 'visible' });
  }

  seesNot(path) {
    return this.item(path).waitFor({ state: 'detached' });
  }

  /** Opens a file in the tree and waits for its text. */
  async open(path) {
    await this.item(path).click();
    await this.editor(path).locator('.view-lines').waitFor();
  }

  editor(path) {
    return this.page.locator(`[data-testid="editor"][data-path="${path}"][data-synced="true"]`);
  }

  /** Puts the caret at the start or end of the open file. */
  async caret(path, where) {
    // The text is as tall as the file; what is around it is as tall as the screen has room for.
    await this.editor(path)
      .locator('.monaco-editor')
      .click({ position: { x: 300, y: 60 } });
    await this.page.keyboard.press(where === 'end' ? 'Control+End' : 'Control+Home');
  }

  /** Key by key, as people do. */
  async type(path, text, where = 'end') {
    await this.caret(path, where);
    await this.page.keyboard.type(text);
  }

  /** As one piece, so that no completion or automatic bracket has a say. */
  async insert(path, text, where = 'end') {
    await this.caret(path, where);
    await this.page.keyboard.insertText(text);
  }

  /** The lines that are on screen. */
  text(path) {
    return this.editor(path).evaluate((editor) =>
      [...editor.querySelectorAll('.view-line')]
        .sort((a, b) => Number.parseFloat(a.style.top) - Number.parseFloat(b.style.top))
        .map((line) => line.textContent.replaceAll('\u00a0', ' '))
        .join('\n'),
    );
  }

  seesText(path, part) {
    return until(`${this.name} to see ${JSON.stringify(part)} in ${path}`, async () =>
      (await this.text(path)).includes(part),
    );
  }

  seesNoText(path, part) {
    return until(
      `${this.name} to see no more ${JSON.stringify(part)} in ${path}`,
      async () => !(await this.text(path)).includes(part),
    );
  }

  async menu(path, entry) {
    await this.item(path).click({ button: 'right' });
    await this.get(`menu-${entry}`).click();
  }

  /** Fills the tree's inline field and presses Enter. */
  async nameIt(name) {
    await this.get('tree-name-input').fill(name);
    await this.get('tree-name-input').press('Enter');
  }

  /** What the page says about its connection. */
  async connection() {
    const badge = this.get('connection');
    const text = await badge.innerText();
    return { state: await badge.getAttribute('data-state'), text };
  }

  connected(...states) {
    return until(`${this.name}'s page to say ${states.join(' or ')}`, async () =>
      states.includes((await this.connection()).state),
    );
  }

  names() {
    return this.get('person').evaluateAll((people) => people.map((person) => person.dataset.name));
  }

  /** Newest first. */
  runs() {
    return this.get('run-item').evaluateAll((items) =>
      items.map((item) => ({ id: item.dataset.run, state: item.dataset.state })),
    );
  }

  seesRun(id, ...states) {
    return until(
      `${this.name} to see run ${id} ${states.join(' or ')}`,
      async () => states.includes((await this.runs()).find((run) => run.id === id)?.state),
      60_000,
    );
  }

  /** The run's details, after choosing it. */
  async detail(id) {
    await this.page.locator(`[data-testid="run-item"][data-run="${id}"]`).click();
    const detail = this.page.locator(`[data-testid="run-detail"][data-run="${id}"]`);
    await detail.waitFor();
    return detail;
  }
}
