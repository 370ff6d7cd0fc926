/** A case of a comparison: its checks, and how it went. */
import { GqaError } from '../errors.js';

/** One quantity of a case: how far off, and how far it may be. */
export interface Check {
  what: string;
  deviation: number;
  tolerance: number;
}

export interface CaseResult {
  name: string;
  passed: boolean;
  /** One line: the largest deviation of each quantity, or why the case could not be compared. */
  detail: string;
}

export function attempt<T>(name: string, f: () => T): { value: T } | CaseResult {
  try {
    return { value: f() };
  } catch (error) {
    if (!(error instanceof GqaError)) throw error;
    return { name, passed: false, detail: error.message };
  }
}

export function run(name: string, compare: () => Check[]): CaseResult {
  const outcome = attempt(name, compare);
  if ('detail' in outcome) return outcome;
  const checks = outcome.value;
  const within = ({ deviation, tolerance }: Check): boolean => deviation <= tolerance; // NaN is not
  const describe = (check: Check): string =>
    `${check.what} ${check.deviation.toExponential(1)}${within(check) ? '' : ` (allowed ${check.tolerance})`}`;
  return { name, passed: checks.length > 0 && checks.every(within), detail: checks.map(describe).join(', ') };
}
