"use strict";
// Ridge regression in its modes, as groktimizer.theory.ridge has it: phases, both losses, times, floors.
const Ridge = (() => {
  const {LATEST} = Clock;

  // The arrays of a problem, and its start for a scale nu / (the nu that it was drawn with).
  function scaled(raw, nu) {
    const factor = raw.unit === null ? 1 : nu / raw.unit;
    const start = Float64Array.from(raw.start, (c) => c * factor), size = raw.size * factor;
    return {...raw, start, size, factor};
  }

  const criticalMomentum = (lr, decay) => Math.max(0, 1 - Math.sqrt(lr * decay)) ** 2;

  const sharpness = (p) => p.curvature[0];

  // Where a step size stops to be stable.
  function limit(p, decay, mu, switched) {
    const top = sharpness(p), stable = 2 * (1 + mu) / (top + decay);
    return switched ? Math.min(stable, 2 / top) : stable;
  }

  const residual = (p) => p.residual ??= Float64Array.from(p.values, (s, i) => s * p.teacher[i] + p.noise[i]);

  // Phases of a run: {switch: step or Infinity for never}.
  function segments(p, lr, decay, mu, change) {
    const append = (array, last) => Float64Array.from([...array, last]);
    const pull = append(p.values.map((s, i) => s * residual(p)[i] / p.n), 0);
    const curvature = append(p.curvature, 0), target = append(p.teacher, 0), initial = append(p.start, 1);
    const found = [];
    if (change > 0) found.push(Modes.segment(0, lr, 0, 0, curvature, pull, initial, target));
    if (change === Infinity) return [found, [0]];
    const position = change > 0 ? Modes.positions(found[0], change) : initial;
    found.push(Modes.segment(change, lr, decay, mu, curvature, pull, position, target));
    return [found, change > 0 ? [0, decay] : [decay]];
  }

  function trainLoss(p, decay) {
    const scale = (2 * p.n) ** -0.5, count = p.values.length;
    const alpha = new Float64Array(count + 1), beta = new Float64Array(count + 1);
    for (let i = 0; i < count; i++) {
      alpha[i] = p.values[i] * scale;
      beta[i] = -decay * residual(p)[i] / (p.curvature[i] + decay) * scale;
    }
    return {alpha, beta, rest: p.unreachable};
  }

  // Fixed point minus teacher along the data: bias plus noise.
  const distance = (p, decay, i) =>
    (p.values[i] * p.noise[i] / p.n - decay * p.teacher[i]) / (p.curvature[i] + decay);

  function populationLoss(p, segment, decay) {
    const count = p.values.length, away = new Float64Array(count + 1);
    for (let i = 0; i < count; i++) {
      away[i] = segment.fromStart[i] ? segment.position[i] - p.teacher[i] : distance(p, decay, i);
    }
    const kept = segment.fromStart[count] ? segment.position[count] : segment.fixed[count];
    if (p.upper) return mixedLoss(p, away, kept);
    const root = Math.sqrt(p.scale), alpha = new Float64Array(count + 1).fill(root);
    alpha[count] = root * p.size;
    away[count] = kept * p.size - p.cross;
    const rest = p.size > 0 ? p.rest : p.hidden;
    return {alpha, beta: away.map((each, i) => root * (i < count || p.size > 0 ? each : 0)), rest};
  }

  // Of the triangular factor of all images: columns of V, of the start's hidden part, and of what is wanted of it.
  function mixedLoss(p, away, kept) {
    const count = away.length, whole = count + 1;
    const upper = [], shift = new Float64Array(count);
    away[count - 1] = kept;
    let at = 0, rest = 0;
    for (let row = 0; row < whole; row++) {
      let sum = 0;
      for (let i = row; i < whole; i++) {
        const entry = p.upper[at++] * (i === count - 1 ? p.factor : 1);
        if (i < count) upper.push(entry);
        sum += entry * (i < count ? away[i] : -1);
      }
      if (row < count) shift[row] = sum; else rest = sum * sum;
    }
    return {upper: Float64Array.from(upper), shift, rest};
  }

  // A run: its phases with both losses.
  function run(p, lr, decay, mu, change) {
    const [found, decays] = segments(p, lr, decay, mu, change);
    const piece = (segment, loss, fromEnd) => ({segment, loss, fromEnd});
    return {
      train: found.map((segment, k) => piece(segment, trainLoss(p, decays[k]), true)),
      population: found.map((segment, k) => piece(segment, populationLoss(p, segment, decays[k]), false)),
    };
  }

  // Both losses at steps that grow.
  function curves(found, steps) {
    const {train, population} = found, losses = [[], []];
    let k = 0;
    for (const t of steps) {
      while (k + 1 < train.length && t >= train[k + 1].segment.start) k++;
      const both = Clock.values(train[k], population[k], t - train[k].segment.start);
      losses[0].push(both[0]);
      losses[1].push(both[1]);
    }
    return losses;
  }

  const ends = (pieces) => Clock.value(pieces[pieces.length - 1], Infinity);

  function times(found, epsilon, c, budget) {
    const train = Clock.crossing(found.train, epsilon, budget), test = Clock.crossing(found.population, c, budget);
    return {
      memorised: train.first, memorised_settled: train.settled, generalised: test.first, settled: test.settled,
      resolved: train.resolved && test.resolved,
    };
  }

  // The three methods of a setting {lr, decay, momentum, change, epsilon, c}, each with its run or why there is none.
  function methods(p, s, work) {
    const kinds = [["gradient descent", 0], [`heavy ball ${Text.general(s.momentum, 6)}`, s.momentum],
      ["CDM", criticalMomentum(s.lr, s.decay)]];
    return kinds.map(([name, mu]) => {
      const never = s.change === Infinity, most = never ? 2 / sharpness(p) : limit(p, s.decay, mu, s.change > 0);
      if (s.lr >= most) return {name, mu, most, run: null, times: null};
      const found = run(p, s.lr, s.decay, mu, s.change);
      return {name, mu, most, run: found, times: times(found, s.epsilon, s.c, {left: work})};
    });
  }

  // Steps 1 to `last`, evenly on a log axis.
  function grid(last, points) {
    const top = Math.min(Math.max(last, 100), LATEST), found = [];
    for (let k = 0; k < points; k++) {
      const step = Math.round(top ** (k / (points - 1)));
      if (step !== found[found.length - 1]) found.push(step);
    }
    return found;
  }

  // How far curves are drawn.
  function horizon(found, s) {
    const slowest = s.change === Infinity ? 1e6 : 4 / (s.lr * s.decay) + s.change;
    const all = found.filter((one) => one.run).flatMap((one) => [one.times.settled, one.times.memorised_settled]);
    return Math.max(100, ...all.map((end) => (end === null ? slowest : 3 * end)));
  }

  return {scaled, methods, run, times, curves, ends, grid, horizon, criticalMomentum, sharpness, limit, residual, distance};
})();
