"use strict";
// One phase of gradient descent or heavy ball, mode by mode: the closed forms of groktimizer.dynamics (rates, modes,
// schedule) for runs that start at rest. A mode is at fixed point + offset * P(t); P is what `place` gives.
const Modes = (() => {
  const GONE = 1e4, NEAR_CRITICAL = 0.1, TWO_PI = 2 * Math.PI;
  const SLACK = 1e-12, PHASE_SLACK = 1e-6, STEEP = 1e3;
  const SINGLE = 0, PAIR = 1, WAVE = 2; // one root, two real roots, complex roots

  function rates(lr, total, mu) {
    const count = total.length, floats = () => new Float64Array(count);
    const r = {count, mu, kind: new Uint8Array(count), negative: new Uint8Array(count), folded: new Uint8Array(count),
      step: floats(), rate: floats(), gap: floats(), angle: floats(), inverseSine: floats(), balance: floats(),
      tilt: floats(), size: floats(), lag: floats(), before: 1,
      waves: false, flips: false};
    for (let i = 0; i < count; i++) rateOf(r, i, lr * total[i]);
    return r;
  }

  function rateOf(r, i, a) {
    const mu = r.mu, root = Math.sqrt(mu), low = ((1 - mu) / (1 + root)) ** 2, high = (1 + root) ** 2;
    r.step[i] = a;
    r.balance[i] = (1 - mu - a) / 2;
    if (mu === 0) { // z = 1 - a
      r.kind[i] = SINGLE;
      r.negative[i] = a >= 1 ? 1 : 0;
      r.rate[i] = Math.max(a < 1 ? Math.log1p(-a) : Math.log(a - 1), -GONE);
      r.gap[i] = 2 * GONE;
      if (a >= 1) r.flips = true;
      return;
    }
    const discriminant = (a - low) * (a - high), width = Math.sqrt(Math.abs(discriminant)), trace = 1 + mu - a;
    if (discriminant < 0) {
      r.kind[i] = WAVE;
      r.waves = true;
      r.folded[i] = trace < 0 ? 1 : 0;
      r.rate[i] = Math.max(Math.log1p(mu - 1) / 2, -GONE);
      r.angle[i] = Math.atan2(width, Math.abs(trace));
      r.inverseSine[i] = 2 * root / width;
      r.before = Math.exp(-r.rate[i]);
      r.tilt[i] = (r.folded[i] ? -1 : 1) * r.balance[i] * r.inverseSine[i] * r.before;
      r.size[i] = Math.hypot(1, r.tilt[i]);
      r.lag[i] = Math.atan(r.tilt[i]);
      return;
    }
    const negative = a >= high, half = width === 0 ? 0 : Math.atanh(Math.min(width / Math.abs(trace), 1));
    const away = negative ? Math.abs(3 + mu - a) : Math.abs(1 - mu + a);
    const near = width <= NEAR_CRITICAL * Math.min(Math.abs(trace), away);
    const falls = 2 * a / (1 - mu + a + width), turns = 2 * (2 * (1 + mu) - a) / (3 + mu - a + width);
    const rate = near ? Math.log1p(mu - 1) / 2 + half : Math.log1p(-(negative ? turns : falls));
    r.kind[i] = PAIR;
    r.negative[i] = negative ? 1 : 0;
    if (negative) r.flips = true;
    r.rate[i] = Math.max(rate, -GONE);
    r.gap[i] = 2 * Math.min(half, GONE);
  }

  // C_t and U_t of mode i at step t, which the functions below read from here: no pair is made a million times.
  const both = new Float64Array(2);

  // Of two real roots, without their signs; U is t z^(t-1) where they meet.
  function pair(r, i, t) {
    const gap = r.gap[i];
    both[0] = Math.exp(t * r.rate[i]) * (1 + Math.exp(-gap * t)) / 2;
    both[1] = Math.exp(Math.max(t - 1, 0) * r.rate[i]) * (gap === 0 ? t : Math.expm1(-gap * t) / Math.expm1(-gap));
  }

  // exp(t rate), which all waves of a phase share.
  const last = {rate: NaN, t: NaN, here: 0};
  function shrunk(rate, t) {
    if (last.t !== t || last.rate !== rate) Object.assign(last, {rate, t, here: Math.exp(t * rate)});
    return last.here;
  }

  function waves(r, i, t) {
    if (r.kind[i] === WAVE) {
      const turn = t * r.angle[i], here = shrunk(r.rate[i], t);
      both[0] = here * Math.cos(turn);
      both[1] = here * r.before * Math.sin(turn) * r.inverseSine[i];
    } else pair(r, i, t);
    if (!(r.negative[i] || r.folded[i])) return;
    if (t % 2 === 1) both[0] = -both[0]; else both[1] = -both[1];
  }

  // Position at step t of a mode that starts at 1 at rest.
  function place(r, i, t) {
    if (r.kind[i] === SINGLE) {
      const size = Math.exp(t * r.rate[i]);
      return r.negative[i] && t % 2 === 1 ? -size : size;
    }
    if (r.kind[i] === WAVE && r.tilt[i] < STEEP && r.tilt[i] > -STEEP) { // one cosine does it
      const value = shrunk(r.rate[i], t) * r.size[i] * Math.cos(t * r.angle[i] - r.lag[i]);
      return r.folded[i] && t % 2 === 1 ? -value : value;
    }
    waves(r, i, t);
    return both[0] + r.balance[i] * both[1];
  }

  // Positions and velocities (the last displacements) of some modes at step t, their offsets weighed.
  function state(s, seen, weight, t) {
    const r = s.rates, x = new Float64Array(seen.length), d = new Float64Array(seen.length);
    for (let k = 0; k < seen.length; k++) {
      const i = seen[k], size = s.offset[i] * weight[i];
      if (r.kind[i] === SINGLE) { // of momentum 0 the next step does not ask for a velocity
        x[k] = size * place(r, i, t);
        continue;
      }
      waves(r, i, t);
      x[k] = size * (both[0] + r.balance[i] * both[1]);
      d[k] = -size * r.step[i] * both[1];
    }
    return [x, d];
  }

  // Position minus 1 of two real positive roots that are apart, without cancellation.
  function displacement(r, i, t) {
    const slow = -Math.expm1(r.rate[i]), fast = slow > 0 ? r.step[i] / slow : 1, gap = r.gap[i];
    const first = fast * Math.expm1(t * r.rate[i]);
    if (r.kind[i] === SINGLE) return first;
    return (first - Math.exp(-gap) * slow * Math.expm1(t * (r.rate[i] - gap))) / -Math.expm1(-gap);
  }

  const apart = (r, i) => r.kind[i] !== WAVE && !r.negative[i] && r.gap[i] > -Math.expm1(r.rate[i]);

  // One phase from `position`: see groktimizer.dynamics.Segment.
  function segment(start, lr, decay, mu, curvature, pull, position, target) {
    const count = curvature.length, total = Float64Array.from(curvature, (h) => h + decay);
    const r = rates(lr, total, mu);
    const s = {start, rates: r, position, fixed: new Float64Array(count), offset: new Float64Array(count),
      fromStart: new Uint8Array(count), shifted: false, known: new Map()};
    for (let i = 0; i < count; i++) {
      s.fixed[i] = total[i] === 0 ? position[i] : pull[i] / total[i];
      s.offset[i] = position[i] - s.fixed[i];
      const nearer = Math.abs(s.fixed[i] - target[i]) > Math.abs(position[i] - target[i]);
      s.fromStart[i] = apart(r, i) && nearer ? 1 : 0;
      if (s.fromStart[i]) s.shifted = true;
    }
    return s;
  }

  // Offset at step t of the phase, from the fixed point or, of modes that count from their start, from there.
  function offset(s, i, t, fromEnd) {
    if (s.fromStart[i] && !fromEnd) return (t === Infinity ? -1 : displacement(s.rates, i, t)) * s.offset[i];
    return t === Infinity ? 0 : place(s.rates, i, t) * s.offset[i];
  }

  function positions(s, t) {
    return Float64Array.from(s.fixed, (end, i) => (s.fromStart[i] ? s.position[i] : end) + offset(s, i, t, false));
  }

  // What `bounds` needs of an edge, kept: offsets of real roots, sizes of waves.
  function edge(s, t, fromEnd) {
    const name = fromEnd ? -1 - t : t;
    let values = s.known.get(name);
    if (values === undefined) {
      const r = s.rates;
      values = new Float64Array(r.count);
      for (let i = 0; i < r.count; i++) {
        values[i] = r.kind[i] === WAVE ? (t === Infinity ? 0 : shrunk(r.rate[i], t)) : offset(s, i, t, fromEnd);
      }
      s.known.set(name, values);
    }
    return values;
  }

  // Least and largest offset of mode i between two edges; of flipping modes least and largest size.
  const span = new Float64Array(2);
  function bounds(s, i, first, last, one, two) {
    const r = s.rates;
    if (r.kind[i] === WAVE) return swing(s, i, first, last, one[i], two[i]);
    if (r.negative[i]) {
      const size = Math.abs(s.offset[i]);
      span[0] = r.mu === 0 && last !== Infinity ? Math.abs(two[i]) * (1 - SLACK) : 0;
      span[1] = (r.kind[i] === SINGLE ? Math.abs(one[i]) : size * flipped(r, i, first)) * (1 + SLACK);
      return span;
    }
    const low = Math.min(one[i], two[i]), high = Math.max(one[i], two[i]);
    const slack = SLACK * Math.max(Math.abs(low), Math.abs(high));
    span[0] = low - slack;
    span[1] = high + slack;
    return span;
  }

  // Size of a mode with two negative roots from step t on.
  function flipped(r, i, t) {
    const fall = Math.max(-r.rate[i], 1e-18), gap = r.gap[i];
    const peak = gap < 1e-8 * fall ? 1 / fall : Math.log1p(gap / fall) / gap;
    pair(r, i, t);
    const first = both[0];
    pair(r, i, Math.max(t, peak));
    return first + Math.abs(r.balance[i]) * both[1];
  }

  function swing(s, i, first, last, large, small) {
    const r = s.rates, size = Math.abs(s.offset[i]) * r.size[i];
    const turn = r.folded[i] ? Math.PI - r.angle[i] : r.angle[i], wide = (last - first) * turn;
    let top = 1, bottom = -1;
    if (wide < TWO_PI) {
      const lag = Math.atan2((r.folded[i] ? -1 : 1) * r.tilt[i] * s.offset[i], s.offset[i]);
      const start = first * turn - lag, pi = Math.PI;
      const begin = start - TWO_PI * Math.floor(start / TWO_PI), finish = begin + wide;
      const c1 = Math.cos(begin), c2 = Math.cos(finish);
      top = finish >= TWO_PI ? 1 : Math.min(Math.max(c1, c2) + PHASE_SLACK, 1);
      bottom = (begin <= pi && finish >= pi) || finish >= 3 * pi ? -1 : Math.max(Math.min(c1, c2) - PHASE_SLACK, -1);
    }
    const slack = SLACK * size * large;
    span[0] = (bottom < 0 ? bottom * large : bottom * small) * size - slack;
    span[1] = (top > 0 ? top * large : top * small) * size + slack;
    return span;
  }

  return {segment, offset, positions, edge, bounds, state};
})();
