"use strict";
// Table and curves of the runs of a sweep. Everything is in the page; numbers and texts come from #content.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const at = (id) => document.getElementById(id);
  const STEP = 500;
  let order = content.rows.map((_, place) => place), shown = STEP, sorted = null, chart = null, opened = null;

  const told = (value) => {
    if (value === null) return "–";
    if (typeof value !== "number") return String(value);
    return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(6)));
  };
  const texts = content.rows.map((row) => row.map((cell, place) => `${content.columns[place]} ${told(cell)}`).join(" ").toLowerCase());

  function draw() {
    const words = at("filter").value.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
    const kept = order.filter((place) => words.every((word) => texts[place].includes(word)));
    const body = document.createElement("tbody");
    for (const place of kept.slice(0, shown)) {
      const line = body.insertRow();
      content.rows[place].forEach((cell, column) => {
        const field = line.insertCell();
        if (content.text[column]) field.className = "text";
        if (column) { field.textContent = told(cell); return; }
        const button = document.createElement("button");
        button.type = "button"; button.textContent = told(cell);
        button.setAttribute("aria-label", `all about run ${cell}`);
        button.addEventListener("click", () => open(place, button));
        field.append(button);
      });
    }
    at("table").tBodies[0].replaceWith(body);
    at("count").textContent = `${kept.length.toLocaleString("en")} of ${content.rows.length.toLocaleString("en")} runs`;
    at("more").hidden = kept.length <= shown;
  }

  function compare(column, sign) {
    return (a, b) => {
      const [x, y] = [content.rows[a][column], content.rows[b][column]];
      if (x === y) return a - b;
      if (x === null) return 1; // what there is not comes last, whichever way
      if (y === null) return -1;
      if (typeof x === "number" && typeof y === "number") return sign * (x - y);
      return sign * String(x).localeCompare(String(y), "en", { numeric: true });
    };
  }

  function heads() {
    const line = at("table").tHead.insertRow();
    content.columns.forEach((name, column) => {
      const head = document.createElement("th"), button = document.createElement("button");
      head.scope = "col"; head.className = content.text[column] ? "text" : "";
      button.type = "button"; button.textContent = name; head.append(button); line.append(head);
      button.addEventListener("click", () => {
        const up = !(sorted && sorted.column === column && sorted.up);
        sorted = { column, up };
        for (const other of line.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        order.sort(compare(column, up ? 1 : -1));
        draw();
      });
    });
  }

  function open(place, button) {
    opened = button;
    const row = content.rows[place], detail = content.details[place];
    at("one").hidden = false;
    at("one-title").textContent = `Run ${row[0]}`;
    at("one-status").textContent = detail.advice ? `${detail.status}: ${detail.advice}` : detail.status;
    const list = at("one-settings");
    list.replaceChildren();
    for (const [name, value] of Object.entries(detail.settings)) {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = name; said.textContent = told(value); list.append(term, said);
    }
    curves(detail.curve);
    at("one-title").focus();
  }

  function curves(curve) {
    if (chart) { chart.destroy(); chart = null; }
    at("chart").replaceChildren();
    if (!curve) return;
    const ink = getComputedStyle(document.body).color, light = document.documentElement.dataset.theme !== "dark";
    const colours = light ? ["#0072B2", "#D55E00"] : ["#56B4E9", "#FF9A50"];
    const axis = (label) => ({ label, stroke: ink, grid: { stroke: light ? "#e4e4e0" : "#3a3d42" }, ticks: { stroke: ink } });
    const options = {
      width: Math.min(760, at("one").clientWidth - 30), height: 300,
      scales: { x: { time: false, distr: 3 }, y: { distr: 3 } },
      series: [{ label: "step" }, { label: "train loss", stroke: colours[0], width: 2 }, { label: "test loss", stroke: colours[1], width: 2, dash: [6, 3] }],
      axes: [axis("step (log scale)"), axis("loss (log scale)")],
    };
    chart = new uPlot(options, curve, at("chart"));
  }

  function theme(name) {
    document.documentElement.dataset.theme = name;
    if (chart) at("close").click();
  }

  at("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  at("filter").addEventListener("input", () => { shown = STEP; draw(); });
  at("more").addEventListener("click", () => { shown += STEP; draw(); });
  at("close").addEventListener("click", () => { at("one").hidden = true; if (opened && opened.isConnected) opened.focus(); });
  heads();
  draw();
})();
