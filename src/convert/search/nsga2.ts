/**
 * NSGA-II: the better half of parents and children by rank of dominance, then by distance from their like, generation
 * after generation. Source: Deb et al. 2002; that QCQA (arXiv:2406.10247) searches by it, and with which operators and
 * probabilities, is from vinayjoshi22/qcqa `qcqa.py`, whose library pymoo has the indices 15 and 20 of the operators.
 */
import type { Draws } from '../../random.js';

export interface Candidate<C> {
  genes: C;
  /** To be minimised. */
  objectives: readonly number[];
}

export interface Problem<C> {
  objectives(genes: C): readonly number[];
  /** Two children of two parents. */
  cross(a: C, b: C, from: Draws): [C, C];
  mutate(genes: C, from: Draws): C;
  /** The same for genes that mean the same: of those one is kept. */
  key(genes: C): string;
}

/** QCQA's code has 10 generations, which end up to 0.44 % above the optimum of 12 heads; 50 reach it. */
const GENERATIONS = 50;
export const POPULATION = 100;

/** @returns those of the last generation that nothing dominates, by their first objective */
export function nsga2<C>(problem: Problem<C>, first: readonly C[], from: Draws): Candidate<C>[] {
  const known = new Map<string, Candidate<C>>();
  const judged = (genes: C): Candidate<C> => {
    const key = problem.key(genes);
    const found = known.get(key) ?? { genes, objectives: problem.objectives(genes) };
    known.set(key, found);
    return found;
  };
  const distinct = (all: readonly Candidate<C>[]): Candidate<C>[] => [...new Set(all)];
  let population = ranked(distinct(first.map(judged)));
  for (let generation = 0; generation < GENERATIONS; generation++) {
    const children: Candidate<C>[] = [];
    for (let i = 0; i < POPULATION; i += 2) {
      const [a, b] = problem.cross(chosen(population, from), chosen(population, from), from);
      children.push(judged(problem.mutate(a, from)), judged(problem.mutate(b, from)));
    }
    population = ranked(distinct([...population.map(({ candidate }) => candidate), ...children])).slice(0, POPULATION);
  }
  return population
    .filter(({ rank }) => rank === 0)
    .map(({ candidate }) => candidate)
    .sort((a, b) => (a.objectives[0] as number) - (b.objectives[0] as number));
}

interface Ranked<C> {
  candidate: Candidate<C>;
  rank: number;
  distance: number;
}

/** The better of two that are drawn. */
function chosen<C>(population: readonly Ranked<C>[], from: Draws): C {
  const [a, b] = [from.below(population.length), from.below(population.length)];
  return (population[Math.min(a, b)] as Ranked<C>).candidate.genes; // the population is in order
}

export const dominates = (a: readonly number[], b: readonly number[]): boolean =>
  a.every((value, i) => value <= (b[i] as number)) && a.some((value, i) => value < (b[i] as number));

/** From the best on. */
function ranked<C>(all: readonly Candidate<C>[]): Ranked<C>[] {
  let left = [...all];
  const found: Ranked<C>[] = [];
  for (let rank = 0; left.length > 0; rank++) {
    const front = left.filter((a) => !left.some((b) => dominates(b.objectives, a.objectives)));
    left = left.filter((each) => !front.includes(each));
    const distances = crowding(front);
    found.push(
      ...front
        .map((candidate, i) => ({ candidate, rank, distance: distances[i] as number }))
        .sort((a, b) => (a.distance === b.distance ? 0 : b.distance - a.distance)),
    );
    if (found.length >= POPULATION) break;
  }
  return found;
}

/** How far each is from its neighbours of the same front, each objective in units of the front's extent. */
function crowding<C>(front: readonly Candidate<C>[]): number[] {
  const distances = new Array<number>(front.length).fill(0);
  for (let m = 0; m < (front[0]?.objectives.length ?? 0); m++) {
    const of = (i: number): number => front[i]?.objectives[m] as number;
    const order = front.map((_, i) => i).sort((a, b) => of(a) - of(b));
    const extent = of(order.at(-1) as number) - of(order[0] as number) || 1;
    for (const [place, i] of order.entries()) {
      const [before, after] = [order[place - 1], order[place + 1]];
      distances[i] =
        before === undefined || after === undefined
          ? Number.POSITIVE_INFINITY
          : (distances[i] as number) + (of(after) - of(before)) / extent;
    }
  }
  return distances;
}
