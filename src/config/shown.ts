/** Values and keys as messages show them. */

/** Shown in messages: short, on one line, control characters escaped. */
export function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value))
    return value.length > 1 && value.length <= 4 && value.every((item) => typeof item === 'number')
      ? `[${value.join(', ')}]`
      : 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value);
}

/** A key in a message: as it is when it is a plain word, else quoted and escaped. */
export const shownKey = (key: string): string => (/^[\w.-]{1,60}$/.test(key) ? key : shown(key));
