/** Class names in label order, for files that bring them in another order or as text. */

/**
 * Class names and labels in the order that the data set has in its other form, so that a label means the same in both.
 * @param order null: as found. A part of its names is enough; with a name that is not in it nothing is changed, and the
 *   notice says so
 * @param labels positions in `classes`
 */
export function inOrder(
  classes: readonly string[],
  labels: Int32Array,
  order: readonly string[] | null,
): { classes: string[]; labels: Int32Array; notice: string | null } {
  if (order === null) return { classes: [...classes], labels, notice: null };
  const strange = classes.filter((name) => !order.includes(name));
  if (strange.length > 0) {
    const notice = `class names that are not the official ones (${strange.slice(0, 3).join(', ')}${strange.length > 3 ? ', …' : ''}): classes keep the order of the files, and the data set's other form may have another`;
    return { classes: [...classes], labels, notice };
  }
  const ordered = order.filter((name) => classes.includes(name));
  const position = classes.map((name) => ordered.indexOf(name));
  return { classes: ordered, labels: labels.map((label) => position[label] ?? 0), notice: null };
}

/** Names between blanks and line breaks. */
export function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
