"use strict";
// When a loss comes within its level, first and for good: the search of groktimizer.theory.clock, in the page.
// A loss is a quadratic form of the offsets of the modes of a phase: {alpha, beta, rest} or, where modes mix,
// {upper, shift, rest}. Bounds over intervals decide where they can; what is open is split, or walked step by step.
const Clock = (() => {
  const LATEST = 2 ** 53, SHORT = 64, RINGING = 4096, CHUNKS = [256, 8192], NEAR = 1e-6;
  class Spent extends Error {}

  // Offsets of all modes at step t, from the fixed points or as the piece counts them.
  function offsets({segment, fromEnd}, t, out) {
    for (let i = 0; i < out.length; i++) out[i] = Modes.offset(segment, i, t, fromEnd);
    return out;
  }

  function form(loss, e) {
    if (loss.upper) return mixed(loss, e);
    const {alpha, beta} = loss;
    let sum = loss.rest;
    for (let i = 0; i < alpha.length; i++) {
      const term = alpha[i] * e[i] + beta[i];
      sum += term * term;
    }
    return sum;
  }

  // A loss at step t of its phase. Piece: segment, loss, and whether offsets count from the fixed points alone.
  function value(piece, t) {
    return form(piece.loss, offsets(piece, t, piece.buffer ??= new Float64Array(piece.segment.fixed.length)));
  }

  // Both losses at step t, which differ in what modes measured from their start count from.
  function values(train, population, t) {
    const e = offsets(train, t, train.buffer ??= new Float64Array(train.segment.fixed.length)), s = train.segment;
    const first = form(train.loss, e);
    if (s.shifted) for (let i = 0; i < e.length; i++) if (s.fromStart[i]) e[i] = Modes.offset(s, i, t, false);
    return [first, form(population.loss, e)];
  }

  function scratch(loss) {
    loss.scratch ??= new Float64Array(loss.shift.length);
    return loss.scratch;
  }

  // ||B e + b||^2 + rest with B upper triangular, its rows one after the other from the diagonal on.
  function mixed(loss, e) {
    const {upper, shift, rest} = loss, count = shift.length;
    let sum = rest, at = 0;
    for (let row = 0; row < count; row++) {
      let term = shift[row];
      for (let i = row; i < count; i++) term += upper[at++] * e[i];
      sum += term * term;
    }
    return sum;
  }

  // 1: within the level throughout; -1: nowhere; 0: open.
  function label(piece, first, last, level) {
    const {segment, loss, fromEnd} = piece;
    const one = Modes.edge(segment, first, fromEnd), two = Modes.edge(segment, last, fromEnd);
    const [low, high] = (loss.upper ? mixedRange : diagonalRange)(piece, first, last, one, two);
    return high <= level ? 1 : low > level ? -1 : 0;
  }

  function diagonalRange({segment, loss}, first, last, one, two) {
    const {alpha, beta, rest} = loss, negative = segment.rates.negative;
    let near = rest, far = rest;
    for (let i = 0; i < alpha.length; i++) {
      if (alpha[i] === 0) {
        near += beta[i] * beta[i];
        far += beta[i] * beta[i];
        continue;
      }
      const span = Modes.bounds(segment, i, first, last, one, two);
      let least, most;
      if (negative[i]) {
        const low = Math.abs(alpha[i]) * span[0], high = Math.abs(alpha[i]) * span[1], shift = Math.abs(beta[i]);
        least = Math.max(0, low - shift, shift - high);
        most = high + shift;
      } else {
        const a = alpha[i] * span[0] + beta[i], b = alpha[i] * span[1] + beta[i];
        least = a * b <= 0 ? 0 : Math.min(Math.abs(a), Math.abs(b));
        most = Math.max(Math.abs(a), Math.abs(b));
      }
      near += least * least;
      far += most * most;
    }
    return [near, far];
  }

  // From the middle of the box and what its half-widths can add to the norm.
  function mixedRange({segment, loss}, first, last, one, two) {
    const count = loss.shift.length, middle = scratch(loss), half = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const span = Modes.bounds(segment, i, first, last, one, two);
      const flips = segment.rates.negative[i];
      middle[i] = flips ? 0 : (span[0] + span[1]) / 2;
      half[i] = flips ? span[1] : (span[1] - span[0]) / 2;
    }
    const size = Math.sqrt(Math.max(mixed(loss, middle) - loss.rest, 0));
    let square = 0, at = 0;
    for (let row = 0; row < count; row++) {
      let term = 0;
      for (let i = row; i < count; i++) term += Math.abs(loss.upper[at++]) * half[i];
      square += term * term;
    }
    const away = Math.sqrt(square) * (1 + 1e-12);
    return [Math.max(size - away, 0) ** 2 + loss.rest, (size + away) ** 2 + loss.rest];
  }

  // The last (or first) step from `first` to `last` that is (not) within the level; null if there is none.
  function walk(piece, first, last, goal) {
    for (let from = first, to = last, size = CHUNKS[0]; from <= to; size = Math.min(4 * size, CHUNKS[1])) {
      const count = Math.min(size, to + 1 - from), begin = goal.forward ? from : to + 1 - count;
      goal.budget.left -= count * piece.segment.fixed.length;
      if (goal.budget.left < 0) throw new Spent();
      const found = chunk(piece, begin, count, goal);
      if (found !== null) return found;
      if (goal.forward) from += count; else to -= count;
    }
    return null;
  }

  function chunk(piece, begin, count, goal) {
    const {segment, loss} = piece, level = goal.level, wanted = goal.label > 0;
    const stepwise = !loss.upper && !(segment.shifted && !piece.fromEnd);
    const state = stepwise ? stateAt(piece, begin) : null;
    let found = null;
    for (let k = 0; k < count; k++) {
      let now = stepwise ? advance(state) : value(piece, begin + k);
      if (stepwise && Math.abs(now / level - 1) < NEAR) now = value(piece, begin + k);
      if ((now <= level) === wanted) {
        found = begin + k;
        if (goal.forward) return found;
      }
    }
    return found;
  }

  // What the loss takes one step after the other: positions and velocities of the modes that it sees, weighed.
  function stateAt({segment, loss}, t) {
    loss.seen ??= [...loss.alpha.keys()].filter((i) => loss.alpha[i] !== 0);
    if (!loss.still) {
      loss.steps = Float64Array.from(loss.seen, (i) => segment.rates.step[i]);
      loss.shifts = Float64Array.from(loss.seen, (i) => loss.beta[i]);
      loss.still = loss.beta.reduce((sum, each, i) => sum + (loss.alpha[i] === 0 ? each * each : 0), loss.rest);
    }
    const [x, d] = Modes.state(segment, loss.seen, loss.alpha, t);
    return {x, d, a: loss.steps, b: loss.shifts, mu: segment.rates.mu, still: loss.still};
  }

  // The loss of a state, which then takes a step.
  function advance({x, d, a, b, mu, still}) {
    let one = still, two = 0, i = 0;
    for (const even = x.length - 1; i < even; i += 2) { // two sums, so that neither waits for the other
      const p = x[i], q = x[i + 1], u = p + b[i], w = q + b[i + 1];
      one += u * u;
      two += w * w;
      const v = mu * d[i] - a[i] * p, y = mu * d[i + 1] - a[i + 1] * q;
      d[i] = v;
      d[i + 1] = y;
      x[i] = p + v;
      x[i + 1] = q + y;
    }
    if (i < x.length) {
      one += (x[i] + b[i]) ** 2;
      d[i] = mu * d[i] - a[i] * x[i];
      x[i] += d[i];
    }
    return one + two;
  }

  // In an interval of which bounds say nothing.
  function open(piece, first, last, goal) {
    if (last - first < (piece.segment.rates.waves ? RINGING : SHORT)) return walk(piece, first, last, goal);
    const middle = first + Math.ceil((last + 1 - first) / 2), halves = [[first, middle], [middle, last + 1]];
    for (const [one, two] of goal.forward ? halves : halves.reverse()) {
      const found = look(piece, one, two, goal);
      if (found !== null) return found;
    }
    return null;
  }

  function look(piece, one, two, goal) {
    const said = label(piece, one, two, goal.level);
    if (said === goal.label) return goal.forward ? one : two - 1;
    return said === 0 && two !== Infinity ? open(piece, one, two - 1, goal) : null;
  }

  function edges(last) {
    const found = [0];
    for (let next = SHORT; next <= Math.min(last, LATEST - 1); next *= 4) found.push(next);
    found.push(Math.min(last + 1, LATEST));
    if (last === Infinity) found.push(Infinity);
    return found;
  }

  function search(piece, last, goal) {
    const steps = edges(last), pairs = steps.slice(1).map((two, k) => [steps[k], two]);
    for (const [one, two] of goal.forward ? pairs : pairs.reverse()) {
      const found = look(piece, one, two, goal);
      if (found !== null) return found;
    }
    return null;
  }

  // First and settled step of a loss along its pieces; null for never; `resolved` false if the search gave up.
  function crossing(pieces, level, budget) {
    const starts = pieces.map((piece) => piece.segment.start), end = pieces.length - 1;
    const goal = {level, budget, label: 1, forward: true}, order = [...pieces.keys()];
    const at = (k) => {
      const found = search(pieces[k], k === end ? Infinity : starts[k + 1] - starts[k] - 1, goal);
      return found === null ? null : starts[k] + found;
    };
    const among = (places) => {
      for (const k of places) {
        const found = at(k);
        if (found !== null) return found;
      }
      return null;
    };
    let first = null;
    try {
      first = among(order);
      const ever = label(pieces[end], LATEST, Infinity, level);
      if (ever <= 0) return {first, settled: null, resolved: ever !== 0};
      Object.assign(goal, {label: -1, forward: false});
      const unmet = among(order.reverse());
      return {first, settled: unmet === null ? 0 : unmet + 1, resolved: true};
    } catch (error) {
      if (!(error instanceof Spent)) throw error;
      return {first, settled: null, resolved: false};
    }
  }

  return {value, values, crossing, LATEST};
})();
