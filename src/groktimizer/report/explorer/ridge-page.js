"use strict";
// The explorer of ridge regression: controls to settings, settings to curves, times, bounds, advice and the command.
const Explorer = (() => {
  const {byId, make} = Panel, content = JSON.parse(byId("content").textContent);
  const FAST = 5e6, PATIENT = 4e8; // steps of modes that a search may walk while a slider moves, and at rest
  const POINTS = 200;
  const sizes = new Map(), sizeKey = (n, m) => `${n} ${m}`;
  for (const size of content.sizes) sizes.set(sizeKey(size.n, size.m), size);

  // A size with its arrays read.
  function raw(n, m) {
    const size = sizes.get(sizeKey(n, m));
    if (!size.read) {
      const values = Panel.numbers(size.values), count = values.length;
      size.read = {...size, values, curvature: values.map((s) => s * s / size.n), start: Panel.numbers(size.start, count),
        teacher: Panel.numbers(size.teacher, count), noise: Panel.numbers(size.noise, count),
        upper: size.upper ? Panel.numbers(size.upper) : null};
    }
    return size.read;
  }

  const problem = (s) => Ridge.scaled(raw(s.n, s.m), s.nu);

  // Everything at a setting; `work` limits the searches.
  function forecast(s, work = PATIENT) {
    const p = problem(s);
    return {problem: p, methods: Ridge.methods(p, s, work)};
  }

  function recommendation(s, found) {
    const critical = found.methods[2].times;
    if (!critical || critical.settled === null || critical.memorised === null) return null;
    return Advice.recommend(found.problem, s, Math.max(critical.settled - critical.memorised, 0));
  }

  const steps = [0, ...[1, 2, 5].flatMap((d) => [0, 1, 2, 3, 4, 5].map((k) => d * 10 ** k)).sort((a, b) => a - b), Infinity];
  const when = (step) => (step === 0 ? "at once" : step === Infinity ? "never" : String(step));

  function specs(start) {
    const {logarithmic, chosen, round} = Panel, [ns, ms] = ["n", "m"].map((k) => [...new Set(content.sizes.map((one) => one[k]))]);
    const found = [
      logarithmic("lr", "step size η (lr)", start.lr, content.ranges.lr),
      logarithmic("decay", "weight decay λ", start.decay, content.ranges.decay),
    ];
    if (content.sizes.length > 1) {
      found.push(chosen("n", "samples n", start.n, ns), chosen("m", "features m", start.m, ms));
    }
    if (content.sizes[0].unit !== null) found.push(logarithmic("nu", "initial scale ν", start.nu, [0.01, 10]));
    found.push({
      key: "momentum", label: "momentum μ of the heavy ball", value: start.momentum, show: String,
      accepted: "a number from 0 to below 1", read: (part) => round(1 - 10 ** (-3 * part)),
      place: (mu) => Math.min(-Math.log10(1 - mu) / 3, 1),
      parse: (typed) => (typed !== "" && Number(typed) >= 0 && Number(typed) < 1 ? Number(typed) : NaN),
    });
    found.push({
      key: "change", label: "switch: decay and momentum from step", value: start.change, choices: steps, show: when, words: true,
      accepted: "a whole number, at once or never",
      parse: (typed) => (typed === "never" ? Infinity : typed === "at once" ? 0 :
        /^\d+$/.test(typed) && Number(typed) < Clock.LATEST ? Number(typed) : NaN),
    });
    found.push(logarithmic("epsilon", "memorised: train loss ≤", start.epsilon, [1e-8, 1]));
    found.push(logarithmic("c", "generalised: population loss ≤", start.c, [1e-8, 1]));
    return found;
  }

  // The line of the command that computes the same; null where it has no such setting.
  function command(s) {
    if (s.change === Infinity) return null;
    const usual = content.usual, words = [content.command], drawn = content.sizes.length > 1;
    const say = (option, value, always = false) => {
      if (always || value !== usual[option]) words.push(`--${option} ${value}`);
    };
    if (drawn) {
      say("n", s.n, true);
      say("m", s.m, true);
    }
    if (content.sizes[0].unit !== null) say("nu", s.nu);
    say("lr", s.lr, true);
    say("weight-decay", s.decay, true);
    say("momentum", s.momentum);
    say("tolerance", s.epsilon);
    if (s.c !== s.epsilon) say("test-tolerance", s.c);
    if (s.change > 0) say("switch", s.change);
    return words.join(" ");
  }

  const delayed = (t) => (t.generalised === null || t.memorised === null ? null : t.generalised - t.memorised);

  function cells({times, most}, patient) {
    if (!times) return [`diverges from η = ${Text.general(most, 4)} on`, "", "", ""];
    const open = patient ? "undecided" : "…", told = (step) => (step === null && !times.resolved ? open : Text.step(step));
    return [told(times.memorised), told(times.generalised), told(times.settled), told(delayed(times))];
  }

  const name = (law) => `${law.theorem}: ${law.quantity} ${Bounds.number(law)}`;

  function bound(law) {
    return [make("dt", {textContent: name(law)}),
      make("dd", {textContent: law.standing})];
  }

  function start() {
    const controls = {}, last = {setting: null, found: null}, looks = content.looks;
    const setting = () => {
      const s = {...content.start};
      for (const key of Object.keys(controls)) s[key] = controls[key].value;
      return s;
    };
    const charts = ["first", "second"].map((id) => Panel.chart(id, looks));

    function draw(work) {
      const s = setting(), found = forecast(s, work), far = Ridge.horizon(found.methods, s), grid = Ridge.grid(far, POINTS);
      const drawn = found.methods.map((one) => (one.run ? Ridge.curves(one.run, grid) : null));
      for (const k of [0, 1]) {
        const curves = drawn.map((both) => (both ? both[k].map((value) => (value > 0 ? value : null)) : grid.map(() => null)));
        const level = k ? s.c : s.epsilon;
        charts[k].show([grid, ...curves], {x: [1, grid.at(-1)], y: Panel.heights(curves, level)}, level, marks(found, k));
      }
      Panel.rows(found.methods.map((one, k) => ({look: looks[k], name: one.name, cells: cells(one, work >= PATIENT)})));
      Panel.bullets("lines", Advice.lines(found.problem, s, found.methods));
      const words = command(s);
      byId("command").textContent = words ?? "predict ridge has no switch that never comes";
      byId("copy").disabled = words === null;
      const laws = Bounds.all(found.problem, s), holding = laws.filter((law) => law.guaranteed);
      byId("bounds").replaceChildren(...laws.flatMap(bound));
      Panel.bullets("holding", holding.length ? holding.map((law) => `${name(law)} (${law.standing})`) :
        ["None of the paper's bounds has all its conditions met here; the list below says what fails."]);
      byId("recommended").replaceChildren("…");
      Object.assign(last, {setting: s, found});
    }

    function marks(found, k) {
      const each = ({times}, method) => {
        if (!times) return [];
        if (k === 0) return [{step: times.memorised, method, full: true}];
        return [{step: times.settled, method, full: true}, ...(times.generalised === times.settled ? [] :
          [{step: times.generalised, method, full: false}])];
      };
      return found.methods.flatMap(each).filter((mark) => mark.step !== null);
    }

    // What waits until nothing moves: searches that were cut short, the advice, the words for a screen reader.
    function rest() {
      if (last.found.methods.some((one) => one.times && !one.times.resolved)) draw(PATIENT);
      recommend(last.setting, last.found);
      byId("said").textContent = last.found.methods.map((one) => {
        const [first, , settled] = cells(one, true);
        return `${one.name}: t1 ${first}, settled ${settled || "never"}`;
      }).join("; ");
    }

    function recommend(s, found) {
      const advised = recommendation(s, found), place = byId("recommended");
      if (!advised) return place.replaceChildren("No λ was found with which gradient descent waits no longer than CDM.");
      const near = Panel.round(advised.decay), decay = near < advised.decay ? Panel.round(1.005 * advised.decay) : near;
      const use = make("button", {type: "button", textContent: `Set λ to ${decay}`});
      use.addEventListener("click", () => controls.decay.set(decay));
      const text = `To wait no longer than CDM (${Text.step(advised.wish)} steps after t1), gradient descent needs ` +
        `λ = ${Text.general(advised.decay, 6)} or more: t1 ${Text.step(advised.memorised)}, settled ` +
        `${Text.step(advised.settled)}. More decay than needed only adds bias. `;
      return place.replaceChildren(text, use);
    }

    const changed = Panel.paced(() => draw(FAST), rest);
    for (const spec of specs(content.start)) controls[spec.key] = Panel.control(spec, changed);
    Panel.theme(() => {
      charts.forEach((one) => one.restyle());
      draw(PATIENT);
      rest();
    });
    Panel.command();
    draw(PATIENT);
    rest();
    return {controls, setting};
  }

  return {forecast, recommendation, problem, command, bounds: (s) => Bounds.all(problem(s), s), ...start()};
})();
