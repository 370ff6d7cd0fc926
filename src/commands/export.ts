/**
 * `gqa export`: a run's best model, or a file of ours, as timm, Hugging Face or the paper's code load it, or as a graph
 * that TensorFlow or ONNX Runtime runs.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { EXPORT_FORMS } from '../checkpoint/export-forms.js';
import { readModelCard } from '../checkpoint/model-file.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { readCheckpoint } from '../checkpoint/read.js';
import { writeSafetensors } from '../checkpoint/write-safetensors.js';
import { DEFAULT_PREPROCESSING } from '../config/preprocessing.js';
import { expanded } from '../convert/expand.js';
import { folded } from '../convert/fold.js';
import { GqaError } from '../errors.js';
import { checkFolder, makeFolder, writeFileAtomic } from '../files/atomic.js';
import { command } from '../invocation.js';
import { sharesNothing, sharingInWords, sharingRecord } from '../model/grouping.js';
import { parameterSpecs } from '../model/params.js';
import { variantOf } from '../model/variants.js';
import { startBackend } from '../native/backend.js';
import { frozenReads } from '../train/frozen-reads.js';
import { joined } from '../train/snapshot.js';
import { GRAPH_FORMS, modelGraph } from './graph-export.js';
import { say, sayNext } from './say.js';
import { weightsFile } from './weights.js';

export interface ExportOptions {
  /** A run's folder, or a model file of ours. */
  from: string;
  format: keyof typeof EXPORT_FORMS;
  expand: boolean;
  /** Images of a call, for graphs. */
  batchSize: number;
  /** A folder, which must not hold a model yet. */
  out: string;
  json: boolean;
}

/** @throws GqaError `usage` when the other program has no such heads, `io` when something cannot be read or written */
export async function exportModel({ from, format, out, json, ...options }: ExportOptions): Promise<void> {
  const form = EXPORT_FORMS[format] as (typeof EXPORT_FORMS)[string];
  const file = await weightsFile(from);
  const graphForm = GRAPH_FORMS[format];
  const target = path.join(out, graphForm?.file ?? 'model.safetensors');
  if (existsSync(target)) throw new GqaError('usage', `${target} exists already`, { hint: 'Give another --out.' });
  checkFolder(out, `cannot write ${out}`);
  const card = readModelCard(openCheckpoint(file));
  if (card === null)
    throw new GqaError('usage', `${file} is no model that gqa wrote: it holds no card with its sizes`, {
      hint: `Give a run folder or a file of ${command('convert')}.`,
    });
  const { variant, classes, images = DEFAULT_PREPROCESSING } = card;
  const allocation = variantOf(variant).allocate !== undefined && card.state !== null;
  // a graph holds the frozen allocation as heads that are there
  const expand = options.expand || (graphForm !== undefined && variantOf(variant).allocate !== undefined);
  const read = readCheckpoint(file, card.model, 0, null);
  let model = { values: folded(read.values, read.shape, variant), shape: read.shape };
  if (!form.grouped && !expand && !sharesNothing(model.shape))
    throw new GqaError('usage', `${format} has no grouped heads, and ${file} has ${sharingInWords(model.shape)}`, {
      hint: 'With --expand every query head gets a copy of the K/V head that it reads: the same logits, at the size of MHA.',
    });
  if (!form.pooled && read.shape.globalPool !== undefined)
    throw new GqaError('usage', `${format} has no head that reads the mean of all patches, as ${file} has`, {
      hint: 'timm has: --format timm.',
    });
  if (expand) {
    if (allocation) await startBackend('auto');
    model = expanded(
      model.values,
      model.shape,
      allocation ? frozenReads(variant, model.shape, card.state ?? []) : undefined,
    );
  } else if (variantOf(variant).allocate !== undefined)
    say(
      `${variant}: the file keeps its KV heads; which query heads read them lies in its state, which the paper's code keeps elsewhere`,
    );
  if (variantOf(variant).perturb !== undefined) say(`${variant}: as it is evaluated without noise`);
  const { values, shape } = model;
  const specs = parameterSpecs(shape);
  const names = Object.keys(specs).filter((name) => name in values);
  makeFolder(out);
  const tensors = form.tensors(names).map(({ name, from: parts }) => {
    const [, ...others] = specs[parts[0] as string]?.shape ?? [];
    const allRows = parts.reduce((sum, part) => sum + (specs[part]?.shape[0] ?? 0), 0);
    return { name, shape: [allRows, ...others], data: () => joined(parts.map((part) => values[part] as Float32Array)) };
  });
  for (const [name, content] of Object.entries(form.beside({ shape, classes, images })))
    writeFileAtomic(path.join(out, name), `${JSON.stringify(content, null, 2)}\n`);
  if (graphForm !== undefined) {
    const bytes = modelGraph(graphForm, model, options.batchSize);
    writeFileAtomic(target, (write) => write(bytes));
  } else writeFileAtomic(target, (write) => writeSafetensors(write, tensors, { format: 'pt' }));
  const report = {
    out,
    format,
    variant,
    expanded: expand,
    heads: shape.heads,
    ...sharingRecord(shape),
  };
  process.stdout.write(
    json ? `${JSON.stringify(report)}\n` : `${target}: ${variant}, ${format}${expand ? ', expanded to MHA' : ''}\n`,
  );
  if (!json && graphForm === undefined) sayNext(`inspect ${out}`);
}
