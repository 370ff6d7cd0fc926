/** TensorBoard's event files: framed and summed as TensorFlow does it; TensorBoard itself reads them (docs/runs.md). */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fieldsOf } from '../../src/protobuf.js';
import { crc32c, EVENTS_FILE } from '../../src/run/tensorboard.js';
import { gqa, gqaAt, temporaryFolder } from '../cli-run.js';

test('checksums are Castagnoli’s', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283); // RFC 3720, B.4
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
});

/** Steps and tags of all records; every length and checksum is looked at. */
function eventsIn(file: string): { step: number; tags: string[] }[] {
  const bytes = fs.readFileSync(file);
  const masked = (data: Buffer): number => {
    const crc = crc32c(data);
    return ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0;
  };
  const found: { step: number; tags: string[] }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const head = bytes.subarray(at, at + 8);
    const length = Number(head.readBigUInt64LE());
    const data = bytes.subarray(at + 12, at + 12 + length);
    assert.deepEqual([bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12 + length)], [masked(head), masked(data)]);
    at += 16 + length;
    const event = fieldsOf(data);
    const summary = event.find(([field]) => field === 5)?.[1] as Buffer | undefined;
    found.push({
      step: (event.find(([field]) => field === 2)?.[1] as number | undefined) ?? -1,
      tags: (summary === undefined ? [] : fieldsOf(summary)).map(([, value]) =>
        String(fieldsOf(value as Buffer)[0]?.[1]),
      ),
    });
  }
  return found;
}

test('a run’s steps and epochs are events; stopped and gone on with, none is there twice', () => {
  const folder = temporaryFolder();
  const args = (name: string): string[] => [
    ...['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', name],
    ...['train.tensorboard=true', 'train.steps=4', 'train.epochs=2', 'train.checkpoint_every={steps: 1}'].flatMap(
      (set) => ['--set', set],
    ),
  ];
  const whole = gqa(args('whole'));
  assert.equal(whole.code, 0, whole.stderr);
  const events = (name: string) => eventsIn(path.join(folder, 'smoke', name, EVENTS_FILE));
  const expected = events('whole');
  assert.ok(expected.some(({ step, tags }) => step === 1 && tags.includes('train_loss')));
  assert.ok(expected.some(({ tags }) => tags.includes('val_top1')));
  const stopped = gqaAt('write "step":2', 'SIGTERM', args('stopped'));
  assert.equal(stopped.code, 143, stopped.stderr);
  const again = gqa(['train', '--resume', path.join(folder, 'smoke', 'stopped')]);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(events('stopped'), expected);
  const without = gqa(['train', '--config', 'configs/smoke.yaml', '--runs-dir', folder, '--run-name', 'without']);
  assert.equal(without.code, 0, without.stderr);
  assert.equal(fs.existsSync(path.join(folder, 'smoke', 'without', EVENTS_FILE)), false);
});
