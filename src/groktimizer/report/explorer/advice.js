"use strict";
// The decay that removes the delay, as groktimizer.theory.ridge.advice looks for it, and where the losses end.
const Advice = (() => {
  const LEAST = 1e-12, DIGITS = 1e-4, FAR = 10, NEAR = 1.3, JITTER = 20, FINE = 1.02;
  const WORK = 2e8; // steps of modes that one search for a time may walk

  // numpy.geomspace.
  function spaced(first, last, count) {
    const one = Math.log10(first), two = Math.log10(last), found = [];
    for (let k = 0; k < count; k++) found.push(10 ** (one + k * ((two - one) / (count - 1))));
    found[0] = first;
    found[count - 1] = last;
    return found;
  }

  const limitOfPopulation = (p, s, decay) => Ridge.ends(Ridge.run(p, s.lr, decay, 0, 0).population);

  // The least decay with which gradient descent has settled at most `wish` steps after t1; null if there is none.
  function recommend(p, s, wish) {
    const top = Ridge.sharpness(p), known = new Map();
    if (s.lr >= 2 / top) return null;
    const low = LEAST * top, high = Math.min(top, 0.9 * (2 / s.lr - top), 0.9 / s.lr);
    const candidates = spaced(high, low, 60).filter((decay) => limitOfPopulation(p, s, decay) <= s.c);
    const ends = (decay) => {
      if (!known.has(decay)) {
        const found = Ridge.times(Ridge.run(p, s.lr, decay, 0, 0), s.epsilon, s.c, {left: WORK});
        known.set(decay, found.settled === null || found.memorised === null ? [Infinity, 0] :
          [found.settled, found.memorised]);
      }
      return known.get(decay);
    };
    const lowest = candidates.length ? search(ends, candidates, wish) : null;
    if (lowest === null) return null;
    const told = up(lowest), decay = ends(told)[0] - ends(told)[1] <= wish ? told : lowest;
    const [settled, memorised] = ends(decay);
    return {decay, settled, memorised, wish};
  }

  // Six digits, rounded up: what is shown is what was computed.
  function up(decay) {
    const unit = 10 ** (Math.floor(Math.log10(decay)) - 5);
    return Number((Math.ceil(decay / unit) * unit).toPrecision(6));
  }

  // A coarse walk down, then every fine cell from the left.
  function search(ends, candidates, wish) {
    const delay = (decay) => ends(decay)[0] - ends(decay)[1], seen = [];
    for (const decay of candidates) {
      seen.push(decay);
      if (Number.isFinite(delay(decay)) && delay(decay) > FAR * Math.max(wish, 1)) break;
    }
    const before = (a, b) => Math.max(delay(a), wish) - Math.max(delay(b), wish) || a - b;
    const best = seen.reduce((kept, decay) => (before(decay, kept) < 0 ? decay : kept));
    const top = seen[Math.max(seen.indexOf(best) - 1, 0)];
    let bottom = best;
    while (bottom > candidates[candidates.length - 1] && delay(bottom) <= NEAR * wish + JITTER) bottom /= FINE;
    if (delay(bottom) <= wish) return bottom;
    const cells = spaced(bottom, top, 2 + Math.floor(Math.log(top / bottom) / Math.log(FINE)));
    for (let k = 0; k + 1 < cells.length; k++) {
      const found = least(ends, cells[k], cells[k + 1], wish);
      if (found !== null) return found;
    }
    return null;
  }

  function least(ends, low, high, wish) {
    const [first, early] = ends(low), [second, late] = ends(high);
    if (Math.min(first, second) - Math.max(early, late) > wish) return null;
    if (high / low <= 1 + DIGITS) return second - late <= wish ? high : null;
    const middle = Math.sqrt(low * high);
    return least(ends, low, middle, wish) ?? least(ends, middle, high, wish);
  }

  // One line for each tolerance that cannot be kept, and for what t2 shows.
  function lines(p, s, methods) {
    const found = [], one = methods.find((method) => method.run);
    if (!one) return found;
    const train = Ridge.ends(one.run.train), population = Ridge.ends(one.run.population);
    const told = (name, end, tolerance) => `The ${name} loss ends at ${Text.general(end, 4)}, above its tolerance ` +
      `${Text.general(tolerance, 4)}: it never stays within.`;
    if (train > s.epsilon) found.push(told("train", train, s.epsilon));
    if (population > s.c) found.push(told("population", population, s.c));
    if (p.curvature.length >= p.m) {
      found.push("There are as many samples as features: nothing is hidden from the data, so nothing groks. " +
        "The times are still exact.");
    } else if (p.zero[1] <= s.c) {
      found.push(`θ = 0, which has learned nothing, has population loss ${Text.general(p.zero[1], 4)}, within the ` +
        "tolerance: here t2 is the step at which the initial weights are forgotten.");
    }
    return found;
  }

  return {recommend, lines};
})();
