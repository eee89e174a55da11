/** Shared terminals, with two browsers and a real shell in a real container. */
import assert from 'node:assert/strict';
import { Api } from './support/api.mjs';
import { killContainer } from './support/docker.mjs';
import { scenario } from './support/scenario.mjs';
import { runProgram } from './support/server.mjs';
import { lookAtTerminal, openTerminal as open, START_MS, sees, shown, type } from './support/terminal.mjs';
import { stays, until } from './support/wait.mjs';

/** Opens a terminal and waits until one may type. */
async function openTerminal(person) {
  await open(person);
  await says(person, 'You have the keyboard');
}

const says = (person, words) =>
  until(`${person.name} to read ${JSON.stringify(words)}`, async () =>
    (await person.get('keyboard').innerText()).includes(words),
  );

scenario(
  'two people share a terminal, hand over its keyboard, and a reload changes nothing',
  async (stage) => {
    const server = await stage.server();
    const ada = await stage.person('Ada');
    const bob = await stage.person('Bob');
    const room = await ada.createRoom(server, 'python');
    await bob.join(server, room);
    await openTerminal(ada);
    await lookAtTerminal(bob);
    await type(ada, 'echo "one-$((40+2))"\n');
    for (const person of [ada, bob]) await sees(person, 'one-42');
    await says(bob, 'Ada has the keyboard');

    // Who only looks on types nothing.
    await type(bob, 'echo "not-$((1+1))"\n');
    await stays('nothing of Bob is typed', 1000, async () => !(await shown(ada)).includes('not-'));

    await bob.get('ask-keyboard').click();
    await ada.get('give-keyboard').click();
    await says(bob, 'You have the keyboard');
    await says(ada, 'Bob has the keyboard');
    await type(bob, 'echo "two-$((40+3))"\n');
    for (const person of [ada, bob]) await sees(person, 'two-43');

    // What the shell writes is in everybody's tree.
    await type(bob, 'echo made > from-shell.txt\n');
    for (const person of [ada, bob]) await person.sees('from-shell.txt');

    // A reload replays, and keeps the keyboard.
    await bob.page.reload();
    await bob.inRoom();
    for (const part of ['one-42', 'two-43']) await sees(bob, part);
    await says(bob, 'You have the keyboard');
    await type(bob, 'echo "three-$((40+4))"\n');
    for (const person of [ada, bob]) await sees(person, 'three-44');

    // The host takes it back at once.
    await ada.get('take-keyboard').click();
    await says(ada, 'You have the keyboard');
    await type(ada, 'stty size\n');
    await until('the size to be that of the page that types', async () => {
      const screen = ada.page.locator('[data-testid="terminal-screen"]:visible .xterm-rows');
      const rows = await screen.evaluate((element) => element.children.length);
      return new RegExp(`^${rows} \\d+$`, 'm').test(await shown(ada));
    });

    // The keyboard alone gets in and out.
    await ada.page.keyboard.press('F6');
    await until('the focus to have left', () =>
      ada.page.evaluate(() => document.activeElement?.closest('.terminal-screen') === null),
    );

    await ada.get('close-terminal').click();
    for (const person of [ada, bob])
      await until('no terminal to be left', async () => (await person.get('terminal-tab').count()) === 0);
    assert.deepEqual([...ada.problems, ...bob.problems], []);
  },
);

scenario('hostile bytes neither stall a terminal nor reach anybody', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada', { permissions: ['clipboard-read', 'clipboard-write'] });
  const bob = await stage.person('Bob', { permissions: ['clipboard-read', 'clipboard-write'] });
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  for (const person of [ada, bob]) {
    await person.page.bringToFront();
    await person.page.evaluate(() => navigator.clipboard.writeText('untouched'));
  }
  await openTerminal(ada);
  await lookAtTerminal(bob);
  const hostile = [
    "printf '\\1\\0\\0\\0\\377\\377\\377\\377'",
    "printf '\\033]52;c;c3RvbGVu\\007\\302\\23552;c;c3RvbGVu\\007'",
    "printf '\\033[21t\\033[18t\\033P+q544e\\033\\\\\\033]10;?\\007\\033]11;?\\007\\033[?1$p\\033[>q'; sleep 0.3",
    "printf '\\033]0;a title\\n'",
    "printf '\\033P\\n'",
    'head -c 400000 /dev/urandom; printf "\\030\\033c"',
    'timeout 2 yes 0123456789012345678901234567890123456789',
  ];
  for (const [at, command] of hostile.entries()) {
    await type(ada, `${command}; echo "sane-${at}-$((${at}+1))"\n`);
    for (const person of [ada, bob]) await sees(person, `sane-${at}-${at + 1}`);
  }
  // A program that waits for an answer gets one, from the server.
  await type(ada, `read -rs -d R -p "$(printf '\\033[6n')" where; echo "asked-\${#where}"\n`);
  for (const person of [ada, bob])
    await until('the answer', async () => /asked-[567]/.test(await shown(person)));
  // What emulators would have answered to the rest would stand in the shell's line now.
  await type(ada, 'clear\n');
  await type(ada, 'echo "line is $((5*5))"\n');
  for (const person of [ada, bob]) await sees(person, 'line is 25');
  assert.doesNotMatch(await shown(ada), /command not found|\^\[/);
  for (const person of [ada, bob]) {
    await person.page.bringToFront();
    assert.equal(await person.page.evaluate(() => navigator.clipboard.readText()), 'untouched');
  }
  // Only tests and people may run beside all that.
  await ada.get('lower-runs').click();
  await ada.get('run-now').click();
  await until('a run to pass', async () => (await ada.runs())[0]?.state === 'passed', START_MS);
  await lookAtTerminal(ada);
  await type(ada, 'echo "still $((6*6))"\n');
  await sees(bob, 'still 36');
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a shell that ends and a container that is killed are told, and opened again', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  await ada.createRoom(server, 'python');
  await openTerminal(ada);
  await type(ada, 'exit 3\n');
  const ended = ada.get('terminal-ended');
  await ended.waitFor();
  assert.match(await ended.innerText(), /The shell has ended with exit code 3\./);
  await ada.get('open-again').click();
  await ended.waitFor({ state: 'detached', timeout: START_MS });
  await says(ada, 'You have the keyboard');
  await sees(ada, '/workspace $', START_MS);
  await type(ada, 'echo "again-$((1+1))"\n');
  await sees(ada, 'again-2');

  const [container] = await server.containers();
  await killContainer(container);
  await ended.waitFor();
  assert.match(await ended.innerText(), /The sandbox was (stopped|removed) from outside/);
  assert.match(await shown(ada), /again-2/, 'what was shown can still be read');
  await ada.get('open-again').click();
  await ended.waitFor({ state: 'detached', timeout: START_MS });
  await says(ada, 'You have the keyboard');
  await sees(ada, '/workspace $', START_MS);
  await type(ada, 'echo "new-$((1+1))"\n');
  await sees(ada, 'new-2');

  // A server that is killed takes its terminals along, and says nothing else of them when it is back.
  await server.kill();
  await server.start();
  await until('the room to know no terminal', async () => (await ada.get('terminal-tab').count()) === 0);
  await openTerminal(ada);
  assert.deepEqual(ada.problems, []);
});

scenario('whoever ends the sandbox gets a new one on the same files', async (stage) => {
  const server = await stage.server();
  const ada = await stage.person('Ada');
  const bob = await stage.person('Bob');
  const room = await ada.createRoom(server, 'python');
  await bob.join(server, room);
  await openTerminal(ada);
  await lookAtTerminal(bob);
  await type(ada, 'echo kept > kept.txt; touch /tmp/passing; echo "made-$((1+1))"\n');
  await sees(bob, 'made-2');
  const [before] = await server.containers();

  await bob.get('new-sandbox').click();
  await bob.get('dialog-confirm').click();
  for (const person of [ada, bob]) {
    const ended = person.get('terminal-ended');
    await ended.waitFor();
    assert.match(await ended.innerText(), /The sandbox was ended by Bob\./);
  }
  await ada.get('open-again').click();
  await ada.get('terminal-ended').waitFor({ state: 'detached', timeout: START_MS });
  await sees(ada, '/workspace $', START_MS);
  await type(ada, 'cat kept.txt; ls /tmp | wc -l; echo "new-$((1+1))"\n');
  await sees(ada, 'new-2');
  assert.match(await shown(ada), /kept\n0\nnew-2/);
  assert.notDeepEqual(await server.containers(), [before]);
  assert.deepEqual([...ada.problems, ...bob.problems], []);
});

scenario('a viewer looks on and types nothing, until access is taken back', async (stage) => {
  const environment = { BUILDSPACES_AUTH_SECRET: '0123456789abcdef0123456789abcdef' };
  const server = await stage.server(environment);
  const mint = async (...args) => {
    const { code, output } = await runProgram(['token', ...args], environment);
    assert.equal(code, 0, output);
    return output.trim().split('\n')[0];
  };
  const host = new Api(server.url, await mint('--role', 'host', '--name', 'Host'));
  const { id: room } = await host.createRoom('python');
  const enter = async (name, role) => {
    const person = await stage.person(name);
    const token = await mint('--room', room, '--role', role, '--name', name, '--user', name.toLowerCase());
    await person.page.goto(`${server.url}/r/${room}#token=${token}`);
    await person.inRoom();
    return { person, api: new Api(server.url, token) };
  };
  const { person: ed } = await enter('Ed', 'editor');
  const { person: grace, api } = await enter('Grace', 'viewer');
  await openTerminal(ed);
  await lookAtTerminal(grace);
  await type(ed, 'echo "seen-$((1+1))"\n');
  await sees(grace, 'seen-2');
  await says(grace, 'You are watching');
  for (const button of ['ask-keyboard', 'take-keyboard', 'open-terminal', 'close-terminal', 'new-sandbox'])
    assert.equal(await grace.get(button).count(), 0, `a viewer has no button ${button}`);
  await type(grace, 'echo "forged-$((1+1))"\n');
  const refusal = await api.call('POST', `/rooms/${room}/terminals`, {}).catch((error) => error);
  assert.equal(refusal.code, 'denied');
  await stays('nothing of Grace is typed', 1000, async () => !(await shown(ed)).includes('forged-'));

  const { person } = await api.call('GET', '/session');
  await host.call('POST', '/revocations', { user: person.id, room, reason: 'the talk is over' });
  await grace.get('access-ended').waitFor();
  await type(ed, 'echo "after-$((1+1))"\n');
  await sees(ed, 'after-2');
});

scenario('without a sandbox the terminal tab says how to get one', async (stage) => {
  const server = await stage.server({ DOCKER_HOST: 'unix:///nowhere/docker.sock' });
  const ada = await stage.person('Ada');
  await ada.createRoom(server, 'python');
  await ada.get('lower-terminal').click();
  const banner = ada.get('terminal-off');
  await banner.waitFor();
  assert.match(await banner.innerText(), /Terminals are off[\s\S]*make engine/);
  assert.equal(await ada.get('open-terminal').count(), 0);
});
