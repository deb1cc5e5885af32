/* Charts that the program declares once for gnuplot and for the page: lines
 * over an axis, and matrices. Each stands in <figure data-spec="NAME">. */

const numberOf = (chart, v) => v === null || v === undefined ? "unknown"
  : chart.percent ? percent(v, v !== 0 && Math.abs(v) < 0.001 ? 4 : 2)
    : v !== 0 && Math.abs(v) < 0.01 ? v.toPrecision(2)
      : v.toFixed(Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 3);

/* Which panels are drawn: all, or of many the first, the middle and the last. */
function panelsOf(chart, state) {
  const n = chart.panels.length;
  if (state.panel !== "some") return [Number(state.panel)];
  return n <= 3 || !chart.layered ? chart.panels.map((_, i) => i).slice(0, 12)
    : [0, Math.floor((n - 1) / 2), n - 1];
}

/* Steps of an axis from low (0 or less) to high. */
function axisOf(low, high) {
  const up = ticks(high - low, 5), step = up[1] || 1;
  const out = [];
  for (let v = Math.floor(low / step + 1e-9); v * step < high + step * 0.999; v++)
    out.push(v * step);
  return out;
}

function tickText(chart, v, step) {
  if (chart.percent) return Math.round(1e5 * v) / 1e3 + " %";
  return String(Number(v.toFixed(step >= 1 ? 0 : Math.ceil(-Math.log10(step)) + 1)));
}

/* Least and greatest of all that the panels show, 0 among them. */
function rangeOf(chart, panels, bars) {
  let low = 0, high = 0;
  for (const p of panels) {
    for (const part of [chart.value, bars && chart.low, bars && chart.high])
      for (const row of part ? part[p] : [])
        for (const v of row) if (v !== null) {
          low = Math.min(low, v);
          high = Math.max(high, v);
        }
    for (const v of chart.chance ? chart.chance[p] : [])
      high = Math.max(high, v);
  }
  return [low, high > low ? high : low + 1];
}

function drawSeries(part, chart, p, s, x, y, lone) {
  const style = STYLE.groups[s % STYLE.groups.length];
  const colour = visible(style.c), row = chart.value[p][s];
  const low = chart.low && chart.low[p][s], high = chart.high && chart.high[p][s];
  const many = row.length > 40;
  part.append(make("path", { d: lineOf(row, x, y), class: "series",
    stroke: colour, "stroke-dasharray": style.d || null }));
  row.forEach((v, i) => {
    if (v === null) return;
    const known = low && low[i] !== null && high[i] !== null;
    if (known && lone)
      part.append(make("path", { stroke: colour, "stroke-width": 1.4,
        d: `M${x(i)} ${y(low[i])}V${y(high[i])}M${x(i) - 3} ${y(low[i])}h6` +
          `M${x(i) - 3} ${y(high[i])}h6` }));
    const mark = pointShape(style.p, x(i), y(v), 3.6, colour);
    /* of many, some marks are seen; all can be pointed at */
    if (many && i % Math.ceil(row.length / 16)) mark.setAttribute("opacity", 0);
    const panel = chart.panels[p] === "" ? ""
      : `${chart.panel_title} ${chart.panels[p]}`.trim() + ", ";
    mark.setAttribute("data-tip", `${chart.series[s]}\n${panel}` +
      `${chart.x_title} ${chart.x[i]}: ${numberOf(chart, v)}` +
      (known ? `\n95 %: ${numberOf(chart, low[i])} to ${numberOf(chart, high[i])}`
        : "") +
      (chart.chance ? `\nchance ${numberOf(chart, chart.chance[p][i])}` : ""));
    part.append(mark);
  });
}

function drawLines(box, chart, state) {
  const width = box.clientWidth, panels = panelsOf(chart, state);
  const grid = width < 640 ? 1 : Math.min(3, panels.length), left = 62;
  const panelW = (width - left - 34 * (grid - 1)) / grid;
  const panelH = grid === 1 && width >= 640 ? 290 : 220, top = 30, foot = 46;
  const height = Math.ceil(panels.length / grid) * (panelH + top + foot);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    height, "aria-label": box.dataset.label });
  const lone = chart.series.length <= 5 || state.only !== null;
  const [low, high] = rangeOf(chart, panels, lone);
  const values = axisOf(low, high), end = values[values.length - 1];
  const step = values[1] - values[0], n = chart.x.length;
  const at = chart.steps ? chart.x.map((_, i) => i) : chart.x.map(Number);
  panels.forEach((p, i) => {
    const x0 = left + (i % grid) * (panelW + 34);
    const y0 = Math.floor(i / grid) * (panelH + top + foot) + top;
    const y = (v) => y0 + panelH - (v - values[0]) / (end - values[0]) * panelH;
    const span = at[n - 1] - at[0];
    const x = (j) => x0 + 10 + (span ? (at[j] - at[0]) / span : 0.5) * (panelW - 20);
    yAxis(svg, x0, x0 + panelW, y, values, i % grid === 0,
      (v) => tickText(chart, v, step));
    if (chart.panels[p] !== "")
      svg.append(make("text", { x: x0, y: y0 - 11, class: "panel-title" },
        `${chart.panel_title} ${chart.panels[p]}`.trim()));
    if (chart.chance)
      svg.append(make("path", { class: "chance",
        d: lineOf(chart.chance[p], x, y) }));
    chart.series.forEach((_, s) => {
      const off = state.only !== null && state.only !== s;
      const part = make("g", { class: off ? "dim" : null });
      drawSeries(part, chart, p, s, x, y, lone && !off);
      svg.append(part);
    });
    const widest = Math.max(...chart.x.map((t) => t.length));
    const every = Math.ceil(n * (8 + 7 * widest) / panelW);
    svg.append(make("g", { class: "axis" },
      make("line", { x1: x0, x2: x0 + panelW, y1: y(0), y2: y(0) }),
      chart.x.map((text, j) => j % every ? null : make("text", { x: x(j),
        y: y0 + panelH + 16, "text-anchor": "middle", class: "minor" }, text)),
      make("text", { x: x0 + panelW / 2, y: y0 + panelH + 35,
        "text-anchor": "middle", class: "chance-label" }, chart.x_title +
        (chart.chance && i === 0 ? " (dashed: chance)" : ""))));
    if (i % grid === 0)
      svg.append(make("text", { x: x0 - 52, y: y0 - 11,
        class: "chance-label", ...(chart.panels[p] === "" ? {}
          : { x: x0 + panelW, "text-anchor": "end" }) }, chart.y_title));
  });
  box.replaceChildren(svg);
}

function matrixKey(svg, chart, colourOf, left, y, width) {
  const keyW = Math.min(260, width - left), parts = 40;
  for (let i = 0; i < parts; i++) {
    const t = i / (parts - 1);
    svg.append(make("rect", { x: left + i * keyW / parts, y, height: 12,
      width: keyW / parts + 0.5,
      fill: hexOf(colourOf((chart.diverging ? 2 * t - 1 : t) * chart.reach)) }));
  }
  const top = numberOf(chart, chart.reach);
  const ends = chart.diverging ? ["\u2212" + top, "0", "+" + top]
    : [chart.percent ? "0 %" : "0", "", top];
  svg.append(make("g", { class: "axis" }, ends.map((text, i) =>
    make("text", { x: left + i * keyW / 2, y: y + 28, class: "minor",
      "text-anchor": ["start", "middle", "end"][i] }, text)),
  make("text", { x: left, y: y - 7, class: "chance-label" }, chart.y_title)));
}

function drawMatrix(box, chart, state) {
  const width = box.clientWidth, panels = panelsOf(chart, state);
  const R = chart.series.length, C = chart.x.length;
  const widest = Math.max(...chart.series.map((t) => t.length));
  const left = 16 + 7 * Math.min(18, widest), gap = 20;
  const grid = Math.max(1, Math.min(panels.length,
    Math.floor(width / (left + 190))));
  const panelW = Math.min(520, (width - gap * (grid - 1)) / grid);
  const cell = (panelW - left) / C, panelH = cell * R, top = 30;
  const lines = Math.ceil(panels.length / grid), foot = 46;
  const height = lines * (panelH + top + foot) + 64;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    width, height, "aria-label": box.dataset.label });
  const colourOf = (v) => chart.diverging
    ? ramp(STYLE.diverging, 0.5 + v / chart.reach / 2)
    : ramp(STYLE.sequential, v / chart.reach);
  panels.forEach((p, i) => {
    const x0 = left + (i % grid) * (panelW + gap);
    const y0 = Math.floor(i / grid) * (panelH + top + foot) + top;
    const rows = chart.order ? chart.order[p] : chart.series.map((_, j) => j);
    const columns = chart.order ? rows : chart.x.map((_, j) => j);
    const every = Math.ceil(15 / cell), across = Math.ceil((9 +
      7 * Math.max(...chart.x.map((t) => t.length))) / cell);
    svg.append(make("text", { x: x0, y: y0 - 11, class: "panel-title" },
      chart.panels[p] === "" ? "" : `${chart.panel_title} ${chart.panels[p]}`));
    rows.forEach((r, a) => columns.forEach((c, b) => {
      const v = chart.value[p][r][c];
      if (v === null) return;
      const rgb = colourOf(v);
      svg.append(make("rect", { x: x0 + b * cell, y: y0 + a * cell,
        width: cell + 0.4, height: cell + 0.4, fill: hexOf(rgb),
        "data-tip": `${chart.x_title} ${chart.series[r]} and ${chart.x[c]}` +
          `\n${numberOf(chart, v)}` }));
      if (cell >= 34)
        svg.append(make("text", { class: "cell-value", fill: inkOn(rgb),
          "pointer-events": "none", x: x0 + (b + 0.5) * cell,
          y: y0 + (a + 0.5) * cell },
        chart.percent ? (100 * v).toFixed(chart.reach < 0.2 ? 1 : 0)
          : v.toFixed(chart.reach < 0.01 ? 4 : chart.reach < 0.1 ? 3 : 2)));
    }));
    svg.append(make("g", { class: "axis" },
      rows.map((r, a) => a % every ? null : make("text", { x: x0 - 6,
        y: y0 + (a + 0.5) * cell + 4, "text-anchor": "end", class: "minor" },
      chart.series[r].slice(0, 18))),
      columns.map((c, b) => b % across ? null : make("text", {
        x: x0 + (b + 0.5) * cell, y: y0 + panelH + 15, class: "minor",
        "text-anchor": "middle" }, chart.x[c].slice(0, 18))),
      make("text", { x: x0 + (panelW - left) / 2, y: y0 + panelH + 33,
        "text-anchor": "middle", class: "chance-label" }, chart.x_title)));
  });
  matrixKey(svg, chart, colourOf, left, height - 42, width);
  box.replaceChildren(svg);
}

/* One declared chart: controls, key and a drawing that follows the width. */
function declared(figure) {
  const charts = DATA.charts[figure.dataset.spec];
  const canvas = figure.querySelector(".canvas");
  if (!charts || !charts.length || !canvas) return;
  const state = { set: 0, panel: "some", only: null };
  const box = make("div", { class: "canvas" });
  const bar = make("div", { class: "controls" }), key = make("div");
  box.dataset.label = figure.dataset.label;
  canvas.replaceWith(bar, key, box);

  const chart = () => charts[state.set];
  function draw() {
    if (!box.clientWidth) return;
    if (chart().kind === "lines") drawLines(box, chart(), state);
    else drawMatrix(box, chart(), state);
  }
  function redraw(focus) {
    draw();
    if (chart().kind !== "lines" || chart().series.length < 2) {
      key.replaceChildren();
      return;
    }
    key.replaceChildren(legend({ groups: chart().series }, state, redraw, true));
    if (typeof focus === "number") key.querySelectorAll("button")[focus].focus();
  }
  function controls() {
    const all = [];
    if (charts.length > 1)
      all.push(choice("Texts by", charts.map((c, i) => [i, c.by]), state.set,
        (v) => { Object.assign(state, { set: Number(v), only: null });
          controls(); redraw(); }));
    if (chart().panels.length > 3)
      all.push(choice(chart().layered ? "Layers" : "Panels", [["some",
        chart().layered ? "first, middle, last" : "all"]].concat(chart().panels.map((name, i) =>
        [i, `${chart().panel_title} ${name}`.trim()])), state.panel,
      (v) => { state.panel = v; draw(); }));
    bar.replaceChildren(...all);
  }
  controls();
  redraw();
  follow(box, draw);
  onPaper(redraw);
}

document.querySelectorAll("figure[data-spec]").forEach(declared);
