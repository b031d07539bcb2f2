"use strict";
// What both explorers share: controls that slide and are typed into, two charts (uPlot), the theme, the command.
const Panel = (() => {
  const SMALLEST = 1e-15, LARGEST = 1e15; // of what is typed
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;

  function make(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // A control: {key, label, value, from, to} on a log axis, or {choices} of which one is chosen, or {read, place}.
  // `show` writes a value as text, `parse` reads one back or gives NaN, `accepted` says what it may be.
  function control(spec, changed) {
    const steps = spec.choices ? spec.choices.length - 1 : 1000, name = `control-${spec.key}`;
    const range = make("input", {type: "range", id: name, min: 0, max: steps, step: 1});
    const text = make("input", {type: "text", inputMode: spec.words ? "text" : "decimal", spellcheck: false});
    const wrong = make("p", {className: "wrong", id: `${name}-wrong`});
    text.setAttribute("aria-label", `${spec.label}, typed`);
    text.setAttribute("aria-describedby", wrong.id);
    const state = {value: spec.value};
    const shown = () => {
      text.value = spec.show(state.value);
      range.value = spec.choices ? nearest(spec.choices, state.value) : Math.round(steps * spec.place(state.value));
      range.setAttribute("aria-valuetext", text.value);
      complain("");
    };
    const complain = (reason) => {
      wrong.textContent = reason;
      text.setAttribute("aria-invalid", reason ? "true" : "false");
    };
    range.addEventListener("input", () => {
      state.value = spec.choices ? spec.choices[Number(range.value)] : spec.read(Number(range.value) / steps);
      text.value = spec.show(state.value);
      range.setAttribute("aria-valuetext", text.value);
      complain("");
      changed();
    });
    text.addEventListener("change", () => {
      const value = spec.parse(text.value.trim());
      if (Number.isNaN(value)) return complain(`${text.value.trim() || "nothing"}: accepted is ${spec.accepted}`);
      state.value = value;
      shown();
      return changed();
    });
    byId("controls").append(make("div", {className: "control"},
      make("label", {htmlFor: name, textContent: spec.label}), text, range, wrong));
    shown();
    return {
      get value() { return state.value; },
      set(value) { state.value = value; shown(); changed(); },
    };
  }

  function nearest(choices, value) {
    if (value === Infinity) return choices.length - 1;
    const away = choices.map((choice) => Math.abs(Math.log((choice + 0.5) / (value + 0.5))));
    return away.indexOf(Math.min(...away));
  }

  const round = (value) => Number(value.toPrecision(3));

  // A number on a log axis; typed ones may lie beyond its ends.
  function logarithmic(key, label, value, [from, to]) {
    const width = Math.log(to / from);
    return {
      key, label, value, show: String, accepted: "a number from 1e-15 to 1e15",
      read: (part) => round(from * Math.exp(part * width)),
      place: (given) => Math.min(Math.max(Math.log(given / from) / width, 0), 1),
      parse: (typed) => (Number(typed) >= SMALLEST && Number(typed) <= LARGEST ? Number(typed) : NaN),
    };
  }

  // One of a few numbers; what is typed becomes the nearest.
  function chosen(key, label, value, choices) {
    return {
      key, label, value, choices, show: String, accepted: `one of ${choices.join(", ")}`,
      parse: (typed) => (choices.includes(Number(typed)) && typed !== "" ? Number(typed) : NaN),
    };
  }

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const dark = () => root.dataset.theme === "dark";

  const SIDES = {s: [4, 45], d: [4, 0], D: [4, 0], "^": [3, -90], v: [3, 90], "<": [3, 180], ">": [3, 0], p: [5, -90],
    h: [6, -90], H: [6, 0], 8: [8, 22.5]};

  // A marker of matplotlib's name as a path; stars and crosses by every second corner nearer to the middle.
  function shape(marker, x, y, size) {
    const [corners, turn] = SIDES[marker] ?? [10, -90], path = new Path2D(), star = !(marker in SIDES);
    for (let k = 0; k < corners; k++) {
      const angle = turn * Math.PI / 180 + 2 * Math.PI * k / corners, far = star && k % 2 ? size * 0.45 : size;
      path[k ? "lineTo" : "moveTo"](x + far * Math.cos(angle), y + far * Math.sin(angle));
    }
    path.closePath();
    return path;
  }

  function swatch(look) {
    const box = make("canvas", {className: "swatch", width: 32, height: 32}), pen = box.getContext("2d");
    box.setAttribute("aria-hidden", "true");
    pen.fillStyle = dark() ? look.dark : look.light;
    pen.fill(shape(look.marker, 16, 16, 13));
    return box;
  }

  const power = (value) => {
    const exponent = Math.round(Math.log10(value));
    if (exponent >= 0 && exponent < 4) return String(10 ** exponent);
    return `1e${exponent}`;
  };

  // A log-log chart of one loss: a curve a method, the tolerance, and a marker at each time {step, level, method, full}.
  function chart(id, looks) {
    const place = byId(id), state = {plot: null, level: 1, marks: [], data: null, range: null};
    const colourOf = (k) => (dark() ? looks[k].dark : looks[k].light);
    const axis = (more) => ({
      stroke: colour("--soft"), grid: {stroke: colour("--grid"), width: 1}, ticks: {stroke: colour("--grid"), width: 1},
      font: "12px system-ui, sans-serif", splits: decades, filter: (_, splits) => splits,
      values: (_, splits) => splits.map(power), ...more,
    });
    const decades = (_, __, low, high) => {
      const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
      const stride = Math.max(1, Math.ceil((last - first) / 6)), found = [];
      for (let k = first; k <= last; k += stride) found.push(10 ** k);
      return found;
    };
    function decorate(plot) {
      const pen = plot.ctx, ratio = devicePixelRatio, y = plot.valToPos(state.level, "y", true);
      pen.save();
      pen.beginPath();
      pen.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
      pen.clip();
      pen.strokeStyle = colour("--soft");
      pen.setLineDash([3 * ratio, 4 * ratio]);
      pen.beginPath();
      pen.moveTo(plot.bbox.left, y);
      pen.lineTo(plot.bbox.left + plot.bbox.width, y);
      pen.stroke();
      pen.setLineDash([]);
      for (const mark of state.marks) {
        const x = plot.valToPos(Math.max(mark.step, 1), "x", true), path = shape(looks[mark.method].marker, x, y, 7 * ratio);
        pen.fillStyle = mark.full ? colourOf(mark.method) : colour("--paper");
        pen.strokeStyle = mark.full ? colour("--paper") : colourOf(mark.method);
        pen.lineWidth = (mark.full ? 1 : 2) * ratio;
        pen.fill(path);
        pen.stroke(path);
      }
      pen.restore();
    }
    function build() {
      state.plot?.destroy();
      const series = looks.map((_, k) => ({stroke: colourOf(k), width: 2.2, points: {show: false}, spanGaps: true}));
      state.plot = new uPlot({
        width: place.clientWidth, height: place.clientHeight, legend: {show: false}, cursor: {show: false},
        scales: {x: {time: false, distr: 3, range: () => state.range.x}, y: {distr: 3, range: () => state.range.y}},
        axes: [axis({size: 26, gap: 3}), axis({size: 52, gap: 4})],
        series: [{}, ...series], hooks: {draw: [decorate]}, padding: [6, 12, 0, 0],
      }, state.data, place);
    }
    function show(data, range, level, marks) {
      const fresh = state.data === null;
      Object.assign(state, {data, range, level, marks});
      if (fresh) build(); else state.plot.setData(data);
    }
    new ResizeObserver(() => {
      if (state.plot && place.clientWidth) state.plot.setSize({width: place.clientWidth, height: place.clientHeight});
    }).observe(place);
    return {show, restyle: () => state.data && build()};
  }

  // The range of a log axis over curves, cut where there is only rounding; `level` stays in sight.
  function heights(curves, level) {
    const values = curves.flat().filter((value) => value > 0 && Number.isFinite(value)), high = Math.max(...values, level);
    const low = Math.max(Math.min(...values, level), high * 1e-10);
    return [low / 3, high * 3];
  }

  function theme(restyle) {
    const button = byId("theme");
    const wear = (name) => {
      root.dataset.theme = name;
      root.style.colorScheme = name;
      button.textContent = name === "dark" ? "Light colours" : "Dark colours";
    };
    const system = matchMedia("(prefers-color-scheme: dark)");
    wear(system.matches ? "dark" : "light");
    system.addEventListener("change", () => { wear(system.matches ? "dark" : "light"); restyle(); });
    button.addEventListener("click", () => { wear(dark() ? "light" : "dark"); restyle(); });
  }

  function command() {
    byId("copy").addEventListener("click", async () => {
      const words = byId("command").textContent;
      try {
        await navigator.clipboard.writeText(words);
        byId("copied").textContent = "copied";
      } catch { // no clipboard for this page: the line is selected instead
        getSelection().selectAllChildren(byId("command"));
        byId("copied").textContent = "selected: copy it with Ctrl+C";
      }
      setTimeout(() => { byId("copied").textContent = ""; }, 3000);
    });
  }

  // Calls `draw` once in the next frame, however often it is asked for, and `rest` when nothing moved for a while.
  function paced(draw, rest, pause = 250) {
    let waiting = false, timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(rest, pause);
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    };
  }

  // Float64Array of base64; absent is zeros.
  function numbers(text, count = 0) {
    if (!text) return new Float64Array(count);
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float64Array(bytes.buffer);
  }

  // Rows of the table: a method's look, name and cells.
  function rows(found) {
    byId("times").replaceChildren(...found.map(({look, name, cells}) => {
      const head = make("th", {scope: "row"}, swatch(look), name);
      return make("tr", {}, head, ...cells.map((cell) => make("td", {textContent: cell})));
    }));
  }

  function bullets(id, lines) {
    byId(id).replaceChildren(...lines.map((line) => (typeof line === "string" ? make("li", {textContent: line}) : line)));
  }

  return {byId, make, control, logarithmic, chosen, chart, heights, theme, command, paced, numbers, rows, bullets, round};
})();
