"use strict";
// Sparse recovery step by step: proximal descent (ISTA) and the same with momentum and restart, as
// groktimizer.theory.clock.descent takes them, on vectors; and what the laws of arXiv 2506.05718 say of them.
const Sparse = (() => {
  const STILL = 1e-6, LONG = 50; // a run rests after LONG steps each shorter than STILL alpha beta
  const STRICT = 1 - 1e-9, STEEP = 0.9;

  // A problem: {N, n, features (row by row), teacher, start, sharpness, targets or null, kappa}.
  function problem(given) {
    const {N, n, features, teacher} = given, columns = new Float64Array(N * n);
    for (let k = 0; k < N; k++) for (let j = 0; j < n; j++) columns[j * N + k] = features[k * n + j];
    const p = {...given, columns};
    p.targets = given.targets ?? image(p, teacher);
    p.size = [norm(p.targets), norm(teacher)];
    p.mostWeight = Math.max(...back(p, p.targets).map(Math.abs));
    return p;
  }

  const norm = (vector) => Math.hypot(...vector);

  // X a, over the entries that are not 0.
  function image({columns, N, n}, a, out = new Float64Array(N)) {
    for (let j = 0; j < n; j++) {
      const entry = a[j];
      if (entry !== 0) for (let k = 0, at = j * N; k < N; k++) out[k] += entry * columns[at + k];
    }
    return out;
  }

  // X' v.
  function back({columns, N, n}, v, out = new Float64Array(n)) {
    for (let j = 0; j < n; j++) {
      let one = 0, two = 0, three = 0, four = 0, k = 0, at = j * N; // four sums, so that none waits for the others
      for (; k + 3 < N; k += 4, at += 4) {
        one += columns[at] * v[k];
        two += columns[at + 1] * v[k + 1];
        three += columns[at + 2] * v[k + 2];
        four += columns[at + 3] * v[k + 3];
      }
      for (; k < N; k++, at++) one += columns[at] * v[k];
      out[j] = one + two + (three + four);
    }
    return out;
  }

  // A run at its start; setting {lr, weight, epsilon, c}; `grid` has the steps at which errors are kept.
  function begin(p, s, accelerated, grid) {
    const a = Float64Array.from(p.start), floats = (count) => new Float64Array(count);
    return {
      p, s, accelerated, grid, a, former: Float64Array.from(a), ahead: floats(p.n), slope: floats(p.n),
      residual: floats(p.N), last: floats(p.N), momentum: 1, theta: 0, step: 0, next: 0, calm: 0, resting: false,
      kept: [[], []], times: {memorised: null, memorised_settled: null, generalised: null, settled: null},
    };
  }

  function note(times, first, settled, step, met) {
    if (!met) times[settled] = null;
    else {
      times[first] ??= step;
      times[settled] ??= step;
    }
  }

  // Errors of the iterate: noted, and kept on the grid.
  function look(run) {
    const {p, s, a, residual, step, times} = run;
    let train = 0, test = 0;
    for (let k = 0; k < p.N; k++) train += residual[k] * residual[k];
    for (let j = 0; j < p.n; j++) test += (a[j] - p.teacher[j]) * (a[j] - p.teacher[j]);
    note(times, "memorised", "memorised_settled", step, train <= (s.epsilon * p.size[0]) ** 2);
    note(times, "generalised", "settled", step, test <= (s.c * p.size[1]) ** 2);
    if (run.grid[run.next] !== step) return;
    run.kept[0].push(Math.sqrt(train) / p.size[0]);
    run.kept[1].push(Math.sqrt(test) / p.size[1]);
    run.next++;
  }

  // The next steps of a run, at most `count`, until it rests.
  function take(run, count) {
    for (let k = 0; k < count && !run.resting; k++) {
      const {p, a, residual} = run;
      for (let i = 0; i < p.N; i++) residual[i] = -p.targets[i];
      image(p, a, residual);
      look(run);
      advance(run);
    }
  }

  function advance(run) {
    const {p, s, a, former, ahead, slope, residual, last, theta} = run, threshold = s.lr * s.weight;
    for (let j = 0; j < p.n; j++) {
      ahead[j] = a[j] + theta * (a[j] - former[j]);
      former[j] = a[j];
    }
    for (let k = 0; k < p.N; k++) {
      const now = residual[k];
      residual[k] = now + theta * (now - last[k]);
      last[k] = now;
    }
    back(p, residual, slope);
    let turn = 0, farthest = 0;
    for (let j = 0; j < p.n; j++) {
      const moved = ahead[j] - s.lr * slope[j];
      a[j] = moved - Math.min(Math.max(moved, -threshold), threshold);
      const way = a[j] - former[j];
      turn += (ahead[j] - a[j]) * way;
      farthest = Math.max(farthest, Math.abs(way));
    }
    if (run.accelerated) {
      const following = (1 + Math.sqrt(1 + 4 * run.momentum * run.momentum)) / 2;
      run.theta = turn > 0 ? 0 : (run.momentum - 1) / following;
      run.momentum = turn > 0 ? 1 : following;
    }
    run.step++;
    run.calm = farthest <= STILL * threshold ? run.calm + 1 : 0;
    run.resting = run.calm >= LONG;
  }

  // Why a setting is not accepted, or null.
  function refused(p, s) {
    if (s.lr * p.sharpness > 1 + 1e-12) return `α = ${s.lr} may diverge with momentum: accepted are values up to ${Text.general(1 / p.sharpness, 6)}.`;
    if (s.weight >= p.mostWeight) return `β = ${s.weight}: the answer is 0 from ${Text.general(p.mostWeight, 6)} on, accepted are values below it.`;
    return null;
  }

  // The nearest vector to `a` with X a = y: a - X' (X X')^-1 (X a - y), by Cholesky.
  function interpolant(p, a, y) {
    p.factor ??= cholesky(p);
    const {N} = p, v = image(p, a), L = p.factor;
    for (let k = 0; k < N; k++) {
      v[k] -= y[k];
      for (let i = 0; i < k; i++) v[k] -= L[k * N + i] * v[i];
      v[k] /= L[k * N + k];
    }
    for (let k = N - 1; k >= 0; k--) {
      for (let i = k + 1; i < N; i++) v[k] -= L[i * N + k] * v[i];
      v[k] /= L[k * N + k];
    }
    const step = back(p, v);
    return a.map((entry, j) => entry - step[j]);
  }

  function cholesky({N, n, features}) {
    const L = new Float64Array(N * N);
    for (let k = 0; k < N; k++) {
      for (let i = 0; i <= k; i++) {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += features[k * n + j] * features[i * n + j];
        for (let j = 0; j < i; j++) sum -= L[k * N + j] * L[i * N + j];
        L[k * N + i] = k === i ? Math.sqrt(sum) : sum / L[i * N + i];
      }
    }
    return L;
  }

  // Theorem 3.3 (how long from fitting to a*) with its conditions, and Theorem 3.6 (what l2 alone leaves).
  function laws(p, s) {
    if (p.N >= p.n) return null;
    const fit = interpolant(p, p.start, p.targets);
    const drift = Math.max(...fit.map((entry, j) => Math.abs(entry - p.teacher[j]))) / (s.lr * s.weight);
    const steep = p.kappa < STRICT ? 2 * (1 - p.kappa) : 1, top = p.sharpness;
    const zero = new Float64Array(p.N), hidden = interpolant(p, p.teacher, zero), began = interpolant(p, p.start, zero);
    const dot = (one, two) => one.reduce((sum, each, j) => sum + each * two[j], 0);
    const square = dot(began, began), share = square ? Math.min(Math.max(dot(began, hidden) / square, 0), 1) : 0;
    const failing = [];
    if (!(s.lr * top < 2)) failing.push(`lr * s_max(X'X) = ${Text.general(s.lr * top, 4)} outside (0, 2)`);
    const left = s.weight * Math.sqrt(p.n);
    if (!(left < top)) failing.push(`weight * sqrt(n) = ${Text.general(left, 4)} outside (0, ${Text.general(top, 4)})`);
    if (p.kappa > STEEP) failing.push(`null-space constant = ${Text.general(p.kappa, 4)} > ${STEEP}`);
    return {delay: drift / Math.min(steep, 1), failing, floor: norm(hidden.map((each, j) => each - share * began[j]))};
  }

  return {problem, begin, take, refused, laws};
})();
