import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors } from '../../src/checkpoint/write-safetensors.js';
import { timeLeft } from '../../src/commands/sweep.js';
import { readConfig } from '../../src/config/load.js';

const cli = fileURLToPath(new URL('../../src/cli.js', import.meta.url));
const sweepModule = new URL('../../src/commands/sweep.js', import.meta.url).href;
const interruptModule = new URL('../../src/run/interrupt.js', import.meta.url).href;

/** Stands in for `gqa train`: what it does depends on the number of KV heads it is given. */
const standIn = `
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
const argument = (name) => process.argv[process.argv.indexOf(name) + 1];
appendFileSync(process.env.LOG, JSON.stringify(process.argv.slice(2)) + '\\n');
if (process.env.EDITED) writeFileSync(process.env.EDITED, '{');
const kvHeads = /kv_heads: (.*)/.exec(readFileSync(argument('--config'), 'utf8'))[1];
const run = argument('--runs-dir') + '/x/' + argument('--run-name');
process.stderr.write('on GPU ' + process.env.CUDA_VISIBLE_DEVICES + '\\n');
const report = { run, kv_parameters: 100, converted: { top1: 0.5 }, best: { epoch: 3, top1: 0.75, loss: 0.8 }, test: { top1: 0.7, top5: 0.9, loss: 0.85 }, train_images_per_s: 9.25 };
if (kvHeads === '1') { process.stderr.write('gqa: the loss is NaN at step 3\\n'); process.exit(6); }
else if (kvHeads === '2') process.kill(process.pid, 'SIGKILL');
else if (kvHeads === '3') process.stdout.write('not json');
else if (kvHeads === '6') { for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 })) process.on(signal, () => { appendFileSync(process.env.LOG, signal + '\\n'); process.exit(code); }); process.stderr.write('waiting\\n'); setInterval(() => {}, 1000); }
else if (process.env.DEAF) { process.stderr.write('waiting\\n'); setInterval(() => {}, 1000); }
else process.stdout.write(JSON.stringify(report));
`;

function scene(): {
  folder: string;
  config: string;
  runsDir: string;
  log: string;
  program: string;
  start(options: object, more?: NodeJS.ProcessEnv): ChildProcess;
  env: NodeJS.ProcessEnv;
} {
  const folder = mkdtempSync(path.join(tmpdir(), 'gqa-sweep-'));
  const config = path.join(folder, 'base.yaml');
  const program = path.join(folder, 'stand-in.mjs');
  const main = path.join(folder, 'main.mjs');
  const root = path.resolve('datasets/fashion-mnist-subset');
  writeFileSync(
    config,
    `data: { name: fashion-mnist, root: ${root} }\nmodel: { size: base, variant: gqa, kv_heads: 4 }\nseed: 7\n`,
  );
  writeFileSync(program, standIn);
  const runsDir = path.join(folder, 'runs');
  // The sweep in a process of its own, as the command line runs it, with the stand-in for its child.
  writeFileSync(
    main,
    `import { sweep } from ${JSON.stringify(sweepModule)};
     import { listenForSignals } from ${JSON.stringify(interruptModule)};
     sweep(JSON.parse(process.argv[2]), listenForSignals(() => {}), [process.execPath, ${JSON.stringify(program)}]).catch((error) => { process.stderr.write(error.code + ': ' + error.message + '\\n'); process.exitCode = { usage: 2, io: 5, sweepFailures: 7, sighup: 129, sigint: 130, sigterm: 143 }[error.code] ?? 1; });`,
  );
  const log = path.join(folder, 'log');
  const env = { ...process.env, LOG: log };
  const start = (options: object, more: NodeJS.ProcessEnv = {}) =>
    spawn(process.execPath, [main, JSON.stringify({ config, set: [], runsDir, name: 's', json: false, ...options })], {
      env: { ...env, ...more },
    });
  return { folder, config, runsDir, log, program, start, env };
}

test('a sweep tells how long it still takes, from the points that are done', () => {
  assert.equal(timeLeft([], 5), '');
  assert.equal(timeLeft([100, 200], 5), ' · about 12:30 left');
});

async function ended(
  child: ChildProcess,
  onStderr: (text: string) => void = () => {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    stdout += part;
  });
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    stderr += part;
    onStderr(stderr);
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

test('a run that fails, is killed or garbles its report is reported when it happens and does not stop the others', async () => {
  const { runsDir, start } = scene();
  const { code, stdout, stderr } = await ended(start({ kvHeads: [1, 2, 3, 4], variants: ['mha', 'gqa'] }));
  assert.equal(code, 7, stderr);
  const [header, ...rows] = readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8')
    .trimEnd()
    .split('\n');
  assert.equal(
    header,
    'variant,kv_heads,seed,kv_parameters,top1_converted,best_epoch,top1_best,loss_best,top1_test,top5_test,loss_test,train_images_per_s,state,exit_code,reason,run',
  );
  const at = (run: string) => path.join(runsDir, 's', run);
  assert.deepEqual(rows.slice(0, 3), [
    `mha,12,7,100,0.5,3,0.75,0.8,0.7,0.9,0.85,9.25,done,0,,${at('mha-kv12-s7')}`,
    `gqa,1,7,,,,,,,,,,failed,6,exit 6,${at('gqa-kv1-s7')}`,
    `gqa,2,7,,,,,,,,,,crashed,137,SIGKILL,${at('gqa-kv2-s7')}`,
  ]);
  assert.match(rows[3] ?? '', /^gqa,3,7,,,,,,,,,,failed,0,"?exit 0, but its report cannot be read/);
  assert.match(stdout, /failed \(exit 0, but its report cannot be read/);
  assert.equal(rows[4], `gqa,4,7,100,0.5,3,0.75,0.8,0.7,0.9,0.85,9.25,done,0,,${at('gqa-kv4-s7')}`);
  assert.match(stderr, /mha chooses its KV heads itself \(12\)/);
  assert.match(
    stderr,
    /the loss is NaN at step 3\n\[2\/5\] gqa, 1 KV head, seed 7: failed \(exit 6\)\n\[3\/5\] gqa, 2 KV heads/,
  );
  assert.match(stderr, /sweepFailures: 3 failed of 5 runs; see .*leaderboard\.csv/);
  assert.match(stdout, /^variant {2}KV heads {2}seed {2}K\/V parameters/);
  assert.match(stdout, /mha +12 +7 +100 +50\.00 % +75\.00 % +70\.00 % +9\.3|9\.2 +done/);
});

test('every run gets a config of its own, resolved with its own keys and the name of the sweep before the first starts', async () => {
  const { folder, runsDir, log, start } = scene();
  const { code, stderr } = await ended(
    start({ set: ['train.lr=1', 'data.cache=images'], variants: ['gqa', 'mha'], seeds: [3, 4], device: 'wasm' }),
  );
  assert.equal(code, 0, stderr);
  const configOf = (run: string) => path.join(runsDir, 's', 'configs', `${run}.yaml`);
  const runs = ['gqa-kv4-s3', 'gqa-kv4-s4', 'mha-kv12-s3', 'mha-kv12-s4'];
  assert.deepEqual(
    readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    runs.map((run) => ['train', '--config', configOf(run), '--run-name', run, '--runs-dir', runsDir, '--json']),
  );
  for (const run of runs) {
    const { config, written } = readConfig(configOf(run), []);
    const { name, seed, device, model, train, data } = config;
    assert.equal(`${model.variant}-kv${model.kvHeads}-s${seed}`, run);
    assert.deepEqual([name, device, train.lr], ['s', 'wasm', 1]);
    assert.deepEqual([data.root, data.cache], [path.resolve('datasets/fashion-mnist-subset'), path.resolve('images')]);
    assert.ok(written);
  }
  assert.deepEqual(readdirSync(folder).includes('images'), false);
});

test('a base config that is edited while the sweep runs changes no point', async () => {
  const { config, runsDir, log, start } = scene();
  const edited = start({ kvHeads: [4, 12] }, { EDITED: config });
  const { code, stderr } = await ended(edited);
  assert.equal(readFileSync(config, 'utf8'), '{'); // the first point did it
  assert.equal(code, 0, stderr);
  assert.equal(readFileSync(log, 'utf8').trimEnd().split('\n').length, 2);
  const { model, train } = readConfig(path.join(runsDir, 's', 'configs', 'gqa-kv12-s7.yaml'), []).config;
  assert.deepEqual([model.kvHeads, train.lr], [12, 1e-5]);
});

test('a checkpoint that changes while the sweep runs is begun with by no other point', async () => {
  const { folder, runsDir, log, start } = scene();
  const checkpoint = path.join(folder, 'vit.safetensors');
  writeFileSync(checkpoint, encodeSafetensors({}));
  const { code, stderr } = await ended(
    start({ kvHeads: [4, 12], set: [`model.pretrained=${checkpoint}`] }, { EDITED: checkpoint }),
  );
  assert.equal(code, 7, stderr);
  assert.equal(readFileSync(log, 'utf8').trimEnd().split('\n').length, 1);
  assert.match(stderr, /gqa, 12 KV heads, seed 7: failed \(model\.pretrained changed after the sweep had begun\)/);
  assert.match(
    readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8'),
    /\ngqa,12,.*,failed,,model\.pretrained changed/,
  );
});

test('a checkpoint and data that are not there are reported together, before anything is made', async () => {
  const { folder, start } = scene();
  const before = readdirSync(folder).sort();
  for (const form of [[], ['data.name=image-folder']]) {
    const { code, stderr } = await ended(
      start({ set: ['model.pretrained=none.safetensors', 'data.root=nowhere', ...form] }),
    );
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /^data: .*: 2 problems\n--set model\.pretrained=none\.safetensors: .* does not exist\n--set data\.root=nowhere: .* does not exist\n$/,
    );
    assert.deepEqual(readdirSync(folder).sort(), before);
  }
});

test('--json prints one document', async () => {
  const { runsDir, start } = scene();
  const { stdout } = await ended(start({ json: true, kvHeads: [1, 4] }));
  const { sweep, points } = JSON.parse(stdout) as {
    sweep: string;
    points: { kv_heads: number; state: string; exit_code: number; reason: string | null }[];
  };
  assert.equal(sweep, path.join(runsDir, 's'));
  assert.deepEqual(
    points.map(({ kv_heads, state, exit_code, reason }) => [kv_heads, state, exit_code, reason]),
    [
      [1, 'failed', 6, 'exit 6'],
      [4, 'done', 0, null],
    ],
  );
});

for (const [signal, code] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} is passed on to the run, the rest is not started, and the sweep ends with ${code}`, {
    skip: process.platform === 'win32' && 'Windows has no such signals',
  }, async () => {
    const { runsDir, log, start } = scene();
    const child = start({ kvHeads: [4, 6, 1] });
    let sent = false;
    const result = await ended(child, (stderr) => {
      if (!sent && stderr.includes('waiting')) {
        sent = true;
        child.kill(signal);
      }
    });
    assert.equal(result.code, code, result.stderr);
    const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 3);
    assert.equal(lines[2], signal);
    const states = readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((row) => row.split(',')[12]);
    assert.deepEqual(states, ['state', 'done', 'interrupted', 'not run']);
  });
}

test('a run that does not listen yet when the signal comes is interrupted by it, not crashed', {
  skip: process.platform === 'win32' && 'Windows has no such signals',
}, async () => {
  const { runsDir, start } = scene();
  const child = start({ variants: ['gqa'], kvHeads: [12, 4] }, { DEAF: '1' });
  let sent = false;
  const result = await ended(child, (stderr) => {
    if (!sent && stderr.includes('waiting')) sent = child.kill('SIGTERM');
  });
  assert.equal(result.code, 143, result.stderr);
  assert.match(result.stderr, /sigterm: stopped by SIGTERM with 0 of 2 runs done; see /);
  const states = readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8');
  assert.match(states, /,interrupted,143,SIGTERM,[\s\S]*,not run,/);
});

test('a leaderboard that cannot be written stops no run, and its table is printed before it is reported: exit 5', async () => {
  const { runsDir, start } = scene();
  const child = start({ kvHeads: [4, 3] });
  const result = await ended(child, () =>
    mkdirSync(path.join(runsDir, 's', 'leaderboard.csv', 'inner'), { recursive: true }),
  );
  assert.equal(result.code, 5, result.stderr);
  assert.match(result.stdout, /gqa +4 .*done/);
  assert.match(result.stdout, /gqa +3 .*failed/);
  assert.match(result.stderr, /io: cannot write .*leaderboard\.csv/);
});

test('invalid points, and the name of a sweep that exists, are exit 2 with nothing made or started', () => {
  const { folder, config, runsDir } = scene();
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [cli, 'sweep', '--config', config, '--runs-dir', runsDir, ...args], {
      encoding: 'utf8',
    });
  const before = readdirSync(folder).sort();
  const invalid = run('--kv-heads', '4,5,7');
  assert.equal(invalid.status, 2);
  assert.match(invalid.stderr, /^gqa: 2 of 3 points of the sweep are invalid; nothing was started\n/);
  assert.match(invalid.stderr, /model\.kv_heads is 5, but must divide heads \(12\)[\s\S]*model\.kv_heads is 7/);
  const badName = run('--name', '../x');
  assert.equal(badName.status, 2);
  assert.match(badName.stderr, /name is "\.\.\/x", expected a folder name/);
  assert.deepEqual(readdirSync(folder).sort(), before);

  writeFileSync(path.join(folder, 'taken'), '');
  const taken = spawnSync(
    process.execPath,
    [cli, 'sweep', '--config', config, '--runs-dir', folder, '--name', 'taken'],
    {
      encoding: 'utf8',
    },
  );
  assert.equal(taken.status, 5, taken.stderr); // a file of that name is no sweep, and no folder either
});

test('a sweep does not mix with one of the same name', async () => {
  const { runsDir, start } = scene();
  assert.equal((await ended(start({}))).code, 0);
  const before = readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8');
  const again = await ended(start({ kvHeads: [3] }));
  assert.equal(again.code, 2);
  assert.match(again.stderr, /has another plan than this/);
  assert.equal(readFileSync(path.join(runsDir, 's', 'leaderboard.csv'), 'utf8'), before);
});

test('the smoke config goes through the real train command, wasm included', () => {
  const runsDir = path.join(mkdtempSync(path.join(tmpdir(), 'gqa-smoke-')), 'runs');
  const args = [
    'sweep',
    '--config',
    'configs/smoke.yaml',
    '--variants',
    'mha,gqa',
    '--kv-heads',
    '2',
    '--runs-dir',
    runsDir,
    '--name',
    'smoke-sweep',
    '--device',
    'wasm',
    '--json',
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const { points } = JSON.parse(stdout) as {
    points: { run: string; state: string; report: { kv_parameters: number } }[];
  };
  assert.deepEqual(
    points.map(({ state }) => state),
    ['done', 'done'],
  );
  assert.equal((points[0]?.report.kv_parameters ?? 0) / (points[1]?.report.kv_parameters ?? 1), 2);
  for (const { run } of points) assert.ok(existsSync(path.join(run, 'checkpoints', 'best', 'model.safetensors')), run);
});

test('a sweep that is stopped goes on by its plan: what is done is not run again, the rest from its own checkpoints', {
  skip: process.platform === 'win32' && 'Windows has no such signals',
}, async () => {
  const runsDir = path.join(mkdtempSync(path.join(tmpdir(), 'gqa-again-')), 'runs');
  const start = (...args: string[]): ChildProcess => spawn(process.execPath, [cli, 'sweep', ...args]);
  const grid = ['--config', 'configs/smoke.yaml', '--variants', 'mha,gqa', '--kv-heads', '2'];
  const sets = ['--set', 'model.window_size=null', '--runs-dir', runsDir];
  const asked = [...grid, '--seeds', '0,1', ...sets.filter((arg) => !/window_size|^--set$/.test(arg))];
  const whole = await ended(start(...asked, '--name', 'whole', '--json'));
  assert.equal(whole.code, 0, whole.stderr);
  const child = start(...asked, '--name', 'stopped', '--json');
  const stopped = await ended(child, (text) => {
    if (/\[2\/4\]/.test(text)) child.kill('SIGINT');
  });
  assert.equal(stopped.code, 130, stopped.stderr);
  const folder = path.join(runsDir, 'stopped');
  assert.match(stopped.stderr, new RegExp(`To go on: .*gqa(\\.js)? sweep --resume ${folder}`));
  const refused = await ended(start('--resume', folder, '--kv-heads', '1'));
  assert.deepEqual([refused.code, /leave out --kv-heads/.test(refused.stderr)], [2, true], refused.stderr);
  const none = await ended(start('--resume', runsDir));
  assert.deepEqual([none.code, /holds no plan\.jsonl/.test(none.stderr)], [2, true], none.stderr);
  const again = await ended(start('--resume', folder, '--json'));
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /1 of 4 runs are done already/);
  assert.doesNotMatch(again.stderr, /\[1\/4\]/);
  const figures = (text: string): unknown[] =>
    (JSON.parse(text) as { points: { report: { test: unknown; best: unknown } }[] }).points.map(({ report }) => [
      report.best,
      report.test,
    ]);
  assert.deepEqual(figures(again.stdout), figures(whole.stdout));
  const board = spawnSync(process.execPath, [cli, 'leaderboard', folder, '--format', 'markdown'], { encoding: 'utf8' });
  assert.equal(board.status, 0, board.stderr);
  assert.match(
    board.stdout,
    /^\| variant \| KV heads [^\n]*\n[^\n]*\n\| mha \| 4 \|[^\n]*\n\| gqa \| 2 \| \d+ \| 2 \|/,
  );
});

test('runs at once: as many as there are jobs or GPUs, each with its own GPU, lines with its name; the same table', async () => {
  const { start, log } = scene();
  const both = await ended(start({ kvHeads: [4, 12], seeds: [0, 1], gpus: [3, 5], name: 'gpus' }));
  assert.equal(both.code, 0, both.stderr);
  const gpus = both.stderr.split('\n').flatMap((line) => /gqa-kv\d+-s\d: on GPU (\d)/.exec(line)?.[1] ?? []);
  assert.equal(gpus.length, 4);
  assert.deepEqual([...new Set(gpus)].sort(), ['3', '5'], 'whoever is done first takes the next');
  const started = readFileSync(log, 'utf8').trim().split('\n').length;
  assert.equal(started, 4, 'each point once');
  assert.match(both.stdout, /gqa +4 +1 [\s\S]*gqa +12 +1 /);
});

const startedRuns = (log: string): string[] =>
  readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as string[]).join(' '));

test('--retries begins a run that failed or crashed again, with its own checkpoint', async () => {
  const { start, log } = scene();
  const { code, stderr } = await ended(start({ kvHeads: [2, 4], retries: 2 }));
  assert.equal(code, 7, stderr);
  const [first, second, third, other] = startedRuns(log);
  assert.doesNotMatch(first as string, /--resume/);
  for (const again of [second, third]) assert.match(again as string, /gqa-kv2-s7 .*--resume auto/);
  assert.match(other as string, /gqa-kv4-s7/);
  assert.equal(startedRuns(log).length, 4);
  assert.match(stderr, /crashed \(SIGKILL\); begun again, 1 of 2\n[\s\S]*begun again, 2 of 2/);
});

test('--fail-fast begins nothing after a failure, --time-budget nothing after its minutes; both say what was not run', async () => {
  for (const [options, runs] of [
    [{ failFast: true, kvHeads: [4, 1, 12, 2] }, 2],
    [{ timeBudget: 1e-9, kvHeads: [4, 12] }, 0],
  ] as const) {
    const { start, log, runsDir } = scene();
    const { code, stderr, stdout } = await ended(start(options));
    assert.equal(code, 7, stderr);
    assert.equal(existsSync(log) ? startedRuns(log).length : 0, runs);
    assert.match(stderr, runs === 2 ? /1 failed, 2 not run of 4 runs/ : /2 not run of 2 runs/);
    assert.match(stdout, /not run/);
    assert.ok(existsSync(path.join(runsDir, 's', 'plan.jsonl')));
  }
});
