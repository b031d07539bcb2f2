"use strict";
// The explorer of sparse recovery: what a slider changes begins anew, and goes on between the frames.
const Explorer = (() => {
  const {byId, make} = Panel, content = JSON.parse(byId("content").textContent);
  const CAP = content.cap, POINTS = 240, SLICES = [10, 24], BLOCK = 32; // milliseconds of the frame of a slider, of others
  const NAMES = ["proximal (ISTA)", "accelerated"], drawn = content.sizes.length > 1;

  const grid = [...new Set(Array.from({length: POINTS}, (_, k) => Math.round(CAP ** (k / (POINTS - 1)))))];
  const known = new Map();

  // The problem of a setting; what only depends on sizes is made once.
  function problem(s) {
    const key = `${s.n} ${s.N} ${s.s}`;
    if (!known.has(key)) {
      const size = content.sizes.find((one) => one.n === s.n && one.N === s.N), row = size.cases.find((one) => one.s === s.s);
      const teacher = new Float64Array(s.n), values = Panel.numbers(row.values);
      row.support.forEach((j, k) => { teacher[j] = values[k]; });
      const given = {N: s.N, n: s.n, features: Panel.numbers(size.features), teacher, sharpness: size.sharpness,
        targets: row.targets ? Panel.numbers(row.targets) : null, kappa: row.kappa, start: teacher};
      known.set(key, {...Sparse.problem(given), unit: Panel.numbers(size.start, s.n), verdict: row.verdict});
    }
    const p = known.get(key);
    return {...p, start: p.unit.map((entry) => entry * (content.scaled ? s.scale : 1))};
  }

  // Both runs at their start, or why there are none.
  function begin(s, steps = [0, ...grid]) {
    const p = problem(s), reason = Sparse.refused(p, s);
    return {p, reason, runs: reason ? [] : [false, true].map((fast) => Sparse.begin(p, s, fast, steps))};
  }

  const done = (run) => run.resting || run.step >= CAP;

  // Steps of all runs in turn until a time; whether all are done.
  function work(runs, until) {
    do {
      for (const run of runs) if (!done(run)) Sparse.take(run, Math.min(BLOCK, CAP - run.step));
    } while (runs.some((run) => !done(run)) && performance.now() < until);
    return runs.every(done);
  }

  function specs(start) {
    const {logarithmic, chosen} = Panel, found = [
      logarithmic("lr", "step size α (lr)", start.lr, content.ranges.lr),
      logarithmic("weight", "weight β of the ℓ1 norm", start.weight, content.ranges.weight),
    ];
    if (drawn) {
      const of = (key) => [...new Set(content.sizes.map((one) => one[key]))];
      found.push(chosen("n", "unknowns n", start.n, of("n")), chosen("N", "samples N", start.N, of("N")),
        chosen("s", "non-zero ones s", start.s, content.sizes[0].cases.map((one) => one.s)));
    }
    if (content.scaled) found.push(logarithmic("scale", "initial scale ζ", start.scale, [1e-6, 10]));
    found.push(logarithmic("epsilon", "memorised: train error ≤", start.epsilon, [1e-8, 1]));
    found.push(logarithmic("c", "generalised: recovery error ≤", start.c, [1e-6, 1]));
    return found;
  }

  function command(s) {
    const words = [content.command];
    if (drawn) words.push(`--n ${s.n} --s ${s.s} --N ${s.N}`);
    words.push(`--lr ${s.lr} --weight ${s.weight}`);
    if (s.epsilon !== content.usual.epsilon) words.push(`--tolerance ${s.epsilon}`);
    if (s.c !== content.usual.c) words.push(`--test-tolerance ${s.c}`);
    if (content.scaled && s.scale !== content.usual.scale) words.push(`--set init_scale=${s.scale}`);
    return words.join(" ");
  }

  function cells(run) {
    const told = (step) => (step !== null ? Text.step(step) : run.resting ? "never" : done(run) ? "not yet" : "…");
    const {memorised, generalised, settled} = run.times;
    const delay = memorised === null || generalised === null ? null : generalised - memorised;
    return [...[memorised, generalised, settled].map(told), delay === null ? told(null) : Text.step(delay)];
  }

  // What a run has kept of an error, on the steps that are shown; one that rests stays where it is.
  const curve = (run, k, shown) => shown.map((_, place) => run.kept[k][place + 1] ?? (run.resting ? run.kept[k].at(-1) : null))
    .map((value) => (value > 0 ? value : null));

  function lines({p}, s) {
    const law = Sparse.laws(p, s), found = [p.verdict];
    if (!law) return found;
    found.push(`Theorem 3.3 of arXiv 2506.05718, of proximal descent: t2 − t1 ~ ${Text.rounded(law.delay)} steps ` +
      `(${law.failing.length ? `not guaranteed: ${law.failing.join("; ")}` : "conditions hold"}); an order of magnitude. ` +
      "The accelerated method takes about its square root.");
    found.push(`Theorem 3.6: with weight decay instead of the ℓ1 norm, ‖a − a*‖ stays at ${Text.rounded(law.floor, ">=")} or ` +
      "more, whatever the weight.");
    return found;
  }

  function start() {
    const controls = {}, looks = content.looks, now = {found: null, timer: 0, waiting: false};
    const setting = () => ({...content.start, ...Object.fromEntries(Object.entries(controls).map(([key, one]) => [key, one.value]))});
    const charts = ["first", "second"].map((id) => Panel.chart(id, looks));

    function show(s) {
      const {runs} = now.found, last = Math.max(100, ...runs.map((run) => 1.5 * run.step)); // room beside the last marker
      const steps = grid.filter((step) => step <= last);
      for (const k of [0, 1]) {
        const curves = looks.map((_, place) => (runs[place] ? curve(runs[place], k, steps) : steps.map(() => null)));
        const level = k ? s.c : s.epsilon;
        charts[k].show([steps, ...curves], {x: [1, last], y: Panel.heights(curves, level)}, level, runs.flatMap((run, method) => marks(run, k, method)));
      }
      Panel.rows(NAMES.map((name, k) => ({look: looks[k], name, cells: runs[k] ? cells(runs[k]) : ["", "", "", ""]})));
    }

    function marks({times}, k, method) {
      const found = k === 0 ? [{step: times.memorised, method, full: true}] : [{step: times.settled, method, full: true},
        ...(times.generalised === times.settled ? [] : [{step: times.generalised, method, full: false}])];
      return found.filter((mark) => mark.step !== null);
    }

    // A slice of the work, and the next one in the next frame.
    function go(s, slice = SLICES[0]) {
      const complete = work(now.found.runs, performance.now() + slice);
      show(s);
      if (!complete) now.timer = requestAnimationFrame(() => go(s, SLICES[1]));
      document.body.dataset.busy = String(!complete);
    }

    function draw() {
      cancelAnimationFrame(now.timer);
      const s = setting();
      now.found = begin(s);
      Panel.bullets("lines", now.found.reason ? [now.found.reason] : []);
      byId("command").textContent = command(s);
      go(s);
    }

    function rest() {
      Panel.bullets("laws", lines(now.found, setting()));
      if (document.body.dataset.busy === "true") return void setTimeout(rest, 500);
      byId("said").textContent = now.found.reason ?? now.found.runs.map((run, k) => {
        const [first, , settled] = cells(run);
        return `${NAMES[k]}: t1 ${first}, settled ${settled}`;
      }).join("; ");
    }

    const soon = Panel.paced(draw, rest), changed = () => {
      cancelAnimationFrame(now.timer); // what is at work is out of date
      soon();
    };
    for (const spec of specs(content.start)) controls[spec.key] = Panel.control(spec, changed);
    Panel.theme(() => {
      charts.forEach((one) => one.restyle());
      show(setting());
    });
    Panel.command();
    draw();
    rest();
    return {controls, setting};
  }

  return {problem, begin, work, command, laws: (s) => Sparse.laws(problem(s), s), ...start()};
})();
