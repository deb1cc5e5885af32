/* Charts drawn from the data of the page: shares, repetition, heatmaps. Each
 * one takes the place of gnuplot's drawing of the same numbers, which stays for
 * readers without scripts. */

const GAP = 12;

/* Shares come packed: [choice][group][layer][expert]; null where unknown. */
for (const set of DATA.sets)
  if (set.shares)
    set.shares = set.shares.map((text) => {
      const all = unpack(text, 2), E = DATA.experts, L = DATA.layers.length;
      const at = (g, s, e) => all[(g * L + s) * E + e];
      return set.groups.map((_, g) => DATA.layers.map((_, s) =>
        Array.from({ length: E }, (_, e) =>
          at(g, s, e) === 65535 ? null : at(g, s, e) / 65534)));
    });

/* Rounded steps of an axis from 0 to at least top. */
function ticks(top, wanted) {
  const raw = top / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let v = 0; v < top + step * 0.999; v += step) out.push(v);
  return out;
}

/* gnuplot's point types that the style names, at radius r. */
function pointShape(kind, x, y, r, colour) {
  const open = kind % 2 === 0 && kind < 14;
  const paint = { fill: open ? "var(--paper)" : colour, stroke: colour,
    "stroke-width": 1.4 };
  const poly = (list) => make("polygon", { ...paint, points:
    list.map(([a, b]) => (x + a * r) + "," + (y + b * r)).join(" ") });
  if (kind === 6 || kind === 7)
    return make("circle", { ...paint, cx: x, cy: y, r });
  if (kind === 4 || kind === 5)
    return poly([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
  if (kind === 8 || kind === 9) return poly([[0, -1.2], [1.1, 0.9], [-1.1, 0.9]]);
  if (kind === 10 || kind === 11) return poly([[0, 1.2], [1.1, -0.9], [-1.1, -0.9]]);
  return poly([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]);
}

/* The key: pressing a name keeps it alone, pressing again brings all back. */
function legend(set, state, redraw, lines) {
  return make("ul", { class: "legend" }, set.groups.map((name, g) => {
    const style = STYLE.groups[g], colour = visible(style.c);
    const sample = make("svg", { width: 26, height: 14, "aria-hidden": "true" },
      lines ? [make("path", { d: "M1 7H25", class: "series", stroke: colour,
        "stroke-dasharray": style.d || null }),
      pointShape(style.p, 13, 7, 3.6, colour)]
        : make("rect", { x: 5, y: 1, width: 12, height: 12, fill: style.c,
          stroke: colour }));
    return make("li", null, make("button", { type: "button",
      "aria-pressed": state.only === g ? "true" : "false",
      class: state.only === null || state.only === g ? null : "off",
      onclick: () => { state.only = state.only === g ? null : g; redraw(g); } },
    sample, isolate(name)));
  }));
}

function yAxis(svg, x0, x1, y, values, labels, text) {
  svg.append(make("g", { class: "grid" }, values.map((v) =>
    make("line", { x1: x0, x2: x1, y1: y(v), y2: y(v) }))));
  if (labels)
    svg.append(make("g", { class: "axis" }, values.map((v) =>
      make("text", { x: x0 - 6, y: y(v) + 4, "text-anchor": "end",
        class: "minor" }, text ? text(v) : Math.round(1000 * v) / 10 + " %"))));
}

/* Grouped bars: one panel a layer (rows) and a choice (columns). */
function drawShares(box, set, rows, columns, state) {
  const width = box.clientWidth, E = DATA.experts;
  const narrow = width < 620, grid = narrow ? 1 : columns.length;
  const left = 48, panelW = (width - left - GAP * (grid - 1)) / grid;
  const panelH = columns.length > 1 && !narrow ? 125 : 150, top = 42, foot = 4;
  const panels = [];
  for (const slot of rows) for (const c of columns) panels.push([slot, c]);
  const lines = Math.ceil(panels.length / grid);
  const height = lines * (panelH + top) + foot + 18;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    height, "aria-label": box.dataset.label });
  let most = 1 / E;
  for (const [slot, c] of panels)
    for (const group of set.shares[c]) most = Math.max(most, ...group[slot]);
  const values = ticks(most, 4), high = values[values.length - 1];
  panels.forEach(([slot, c], i) => {
    const x0 = left + (i % grid) * (panelW + GAP);
    const y0 = Math.floor(i / grid) * (panelH + top) + 24;
    const y = (v) => y0 + panelH - v / high * (panelH - 4);
    yAxis(svg, x0, x0 + panelW, y, values, i % grid === 0);
    svg.append(make("text", { x: x0, y: y0 - 7, class: "panel-title" },
      `Layer ${DATA.layers[slot]}` +
      (columns.length > 1 ? `, ${DATA.choices[c]}` : "")));
    const cell = panelW / E, all = set.groups.length;
    /* bars too thin to be seen alone take the place of the others */
    const alone = state.only !== null && cell * 0.86 / all < 4;
    const n = alone ? 1 : all, bar = cell * 0.86 / n;
    set.groups.forEach((name, g) => {
      if (alone && g !== state.only) return;
      const colour = STYLE.groups[g].c, edge = visible(colour);
      for (let e = 0; e < E; e++) {
        const v = set.shares[c][g][slot][e];
        if (v === null) continue;
        svg.append(make("rect", { x: x0 + e * cell + cell * 0.07 + (alone ? 0 : g * bar),
          y: y(v), width: Math.max(0.5, bar - (bar > 3 ? 0.8 : 0)),
          height: Math.max(0, y(0) - y(v)), fill: colour,
          stroke: edge === colour ? null : edge, "stroke-width": 0.6,
          class: state.only === null || state.only === g ? null : "dim",
          "data-tip": `${name}\nlayer ${DATA.layers[slot]}, expert ${e}, ` +
            `${DATA.choices[c]}\n${percent(v, 2)} (chance ${percent(1 / E)})` }));
      }
    });
    svg.append(make("line", { class: "chance", x1: x0, x2: x0 + panelW,
      y1: y(1 / E), y2: y(1 / E) }));
    const step = Math.ceil(E * 18 / panelW);
    svg.append(make("g", { class: "axis" },
      make("line", { x1: x0, x2: x0 + panelW, y1: y(0), y2: y(0) }),
      Array.from({ length: E }, (_, e) => e % step ? null :
        make("text", { x: x0 + (e + 0.5) * cell, y: y0 + panelH + 14,
          "text-anchor": "middle", class: "minor" }, String(e)))));
  });
  svg.append(make("text", { x: left + (width - left) / 2, y: height - 4,
    "text-anchor": "middle", class: "chance-label" },
  `expert (dashed: chance, 1/${E} = ${percent(1 / E)})`));
  box.replaceChildren(svg);
}

/* A path through known values. */
function lineOf(values, x, y) {
  let path = "", pen = "M";
  values.forEach((v, s) => {
    if (v !== null) path += pen + x(s) + " " + y(v);
    pen = v === null ? "M" : "L";
  });
  return path;
}

/* The group whose interval and chances are drawn: the one that is alone, else all
 * texts, which stand behind the groups. */
function leadOf(set, state) {
  return state.only !== null ? state.only : set.repeats[0].rate.length - 1;
}

const LEVELS = [["uniform", "7 4", "chance, uniform: every expert as likely"],
  ["load", "7 2 1.5 2", "chance by load: independent tokens, load as seen"],
  ["token", "1.5 2.5", "chance by token: equal tokens swap routes"]];

/* What the lines beside the groups are, in words. */
function repeatsKey(set, state) {
  const lead = leadOf(set, state), kind = set.repeats[0];
  const name = lead < set.groups.length ? set.groups[lead] : "all texts";
  const sample = (...marks) => make("svg", { width: 30, height: 14,
    "aria-hidden": "true" }, marks);
  const item = (text, ...marks) => make("li", null, sample(...marks),
    make("span", null, text));
  const band = kind.low ? make("rect", { x: 1, y: 1, width: 28, height: 12,
    class: "band", fill: leadColour(set, lead) }) : null;
  return make("ul", { class: "legend words" },
    item([isolate(name), kind.low ? ", with its 95 % interval over documents" : ""],
      band, make("path", { d: "M1 7H29", class: "series lead",
        stroke: leadColour(set, lead) })),
    LEVELS.filter(([which]) => which === "uniform" || kind[which])
      .map(([which, dash, text]) => item(text, make("path", { d: "M1 7H29",
        class: "level", "stroke-dasharray": dash }))));
}

const leadColour = (set, lead) => lead < set.groups.length
  ? visible(STYLE.groups[lead].c) : "var(--ink)";

/* The line of one group. */
function repeatsLine(set, kind, g, lead, x, y) {
  const style = STYLE.groups[g], colour = leadColour(set, g);
  const all = g >= set.groups.length, part = make("g");
  part.append(make("path", { d: lineOf(kind.rate[g], x, y),
    class: g === lead ? "series lead" : "series", stroke: colour,
    "stroke-dasharray": all ? null : style.d || null }));
  kind.rate[g].forEach((v, s) => {
    if (v === null) return;
    const r = DATA.layers.length > 20 ? 2.8 : 3.8;
    const mark = all ? make("circle", { cx: x(s), cy: y(v), r: r - 1,
      fill: colour }) : pointShape(style.p, x(s), y(v), r, colour);
    const known = kind.low && kind.low[g][s] !== null;
    mark.setAttribute("data-tip", (all ? "all texts" : set.groups[g]) +
      `\nlayer ${DATA.layers[s]}: ${percent(v, 2)}` + (known ? "\n95 %: " +
        `${percent(kind.low[g][s])} to ${percent(kind.high[g][s])}` : "") +
      `\nchance, uniform: ${percent(kind.chance, 2)}` +
      (kind.load ? `\nby load: ${percent(kind.load[g][s], 2)}` : "") +
      (kind.token ? `\nby token: ${percent(kind.token[g][s], 2)}` : ""));
    part.append(mark);
  });
  return part;
}

/* The interval of the leading group, as a band, and its chance levels. */
function repeatsLead(svg, set, kind, lead, x, y, ends) {
  const known = kind.low ? DATA.layers.map((_, s) => s)
    .filter((s) => kind.low[lead][s] !== null) : [];
  const at = (row) => (s) => `${x(s)},${y(row[lead][s])}`;
  const wide = known.length === 1 ? 6 : 0; /* one layer has no area */
  if (wide)
    svg.append(make("rect", { class: "band", fill: leadColour(set, lead),
      x: x(known[0]) - wide, width: 2 * wide, y: y(kind.high[lead][known[0]]),
      height: y(kind.low[lead][known[0]]) - y(kind.high[lead][known[0]]) }));
  else if (known.length)
    svg.append(make("polygon", { class: "band", fill: leadColour(set, lead),
      points: known.map(at(kind.high)).concat(known.reverse().map(at(kind.low)))
        .join(" ") }));
  for (const [which, dash] of LEVELS) {
    const row = which === "uniform" ? DATA.layers.map(() => kind.chance)
      : kind[which] && kind[which][lead];
    if (!row) continue;
    const one = row.length === 1 && row[0] !== null;
    svg.append(make("path", { class: "level", "stroke-dasharray": dash,
      d: which === "uniform" || one
        ? `M${ends[0]} ${y(row[0])}H${ends[1]}` : lineOf(row, x, y) }));
  }
}

/* Lines over the layers: one panel for each way of counting. */
function drawRepeats(box, set, state) {
  const width = box.clientWidth, kinds = set.repeats;
  const narrow = width < 680, grid = narrow ? 1 : kinds.length;
  const left = 50, panelW = (width - left * grid) / grid;
  const panelH = 300, top = 28, foot = 40;
  const height = Math.ceil(kinds.length / grid) * (panelH + top + foot);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    height, "aria-label": box.dataset.label });
  const L = DATA.layers.length, lead = leadOf(set, state);
  kinds.forEach((kind, i) => {
    const x0 = left + (i % grid) * (panelW + left);
    const y0 = Math.floor(i / grid) * (panelH + top + foot) + top;
    let most = kind.chance;
    for (const row of kind.rate) most = Math.max(most, ...row);
    for (const part of [kind.high, kind.load, kind.token])
      if (part) most = Math.max(most, ...part[lead]);
    const values = ticks(most, 5), high = values[values.length - 1];
    const y = (v) => y0 + panelH - v / high * panelH;
    const x = (s) => x0 + 12 + (L > 1 ? s * (panelW - 24) / (L - 1)
      : (panelW - 24) / 2);
    yAxis(svg, x0, x0 + panelW, y, values, true);
    svg.append(make("text", { x: x0, y: y0 - 11, class: "panel-title" },
      kind.title));
    repeatsLead(svg, set, kind, lead, x, y, [x0, x0 + panelW]);
    kind.rate.forEach((_, g) => {
      const part = repeatsLine(set, kind, g, lead, x, y);
      if (state.only !== null && state.only !== g) part.classList.add("dim");
      svg.append(part);
    });
    const step = Math.ceil(L * 24 / panelW);
    svg.append(make("g", { class: "axis" },
      make("line", { x1: x0, x2: x0 + panelW, y1: y(0), y2: y(0) }),
      DATA.layers.map((layer, s) => s % step ? null : make("text", { x: x(s),
        y: y0 + panelH + 16, "text-anchor": "middle", class: "minor" },
      String(layer))),
      make("text", { x: x0 + panelW / 2, y: y0 + panelH + 33,
        "text-anchor": "middle", class: "chance-label" }, "layer" +
        (kind.token && kind.token[lead].some((v) => v !== null) || !kind.token
          ? "" : " (no chance by token for so many sets)"))));
  });
  box.replaceChildren(svg);
}

/* Layers x experts of one group, or the difference of two. */
function drawHeat(box, set, state) {
  const width = Math.min(box.clientWidth, 900), E = DATA.experts;
  const L = DATA.layers.length, left = 44, top = 8;
  const cellW = (width - left - 4) / E;
  const cellH = Math.max(9, Math.min(34, 560 / L)), height = top + L * cellH + 78;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    width, height, "aria-label": box.dataset.label });
  const share = set.shares[state.choice];
  const a = share[state.a], b = state.b === "" ? null : share[state.b];
  let most = 1 / E;
  for (let s = 0; s < L; s++)
    for (let e = 0; e < E; e++)
      if (b) most = Math.max(most === 1 / E ? 0 : most, Math.abs(a[s][e] - b[s][e]));
      else for (const group of share) most = Math.max(most, group[s][e]);
  most = most || 1;
  const digits = most >= 0.01 ? 1 : most >= 0.001 ? 2 : 3;
  const nameA = set.groups[state.a], nameB = b ? set.groups[state.b] : "";
  const colourOf = (v) => b ? ramp(STYLE.diverging, 0.5 + v / most / 2)
    : ramp(STYLE.sequential, v / most);
  for (let s = 0; s < L; s++) {
    const y = top + s * cellH;
    if (s % Math.ceil(14 / cellH) === 0)
      svg.append(make("g", { class: "axis" }, make("text", { x: left - 8,
        y: y + cellH / 2 + 4, "text-anchor": "end", class: "minor" },
      String(DATA.layers[s]))));
    for (let e = 0; e < E; e++) {
      if (a[s][e] === null || (b && b[s][e] === null)) continue;
      const v = b ? a[s][e] - b[s][e] : a[s][e], rgb = colourOf(v);
      svg.append(make("rect", { x: left + e * cellW, y, width: cellW + 0.5,
        height: cellH + 0.5, fill: hexOf(rgb),
        "data-tip": `layer ${DATA.layers[s]}, expert ${e}\n` + (b
          ? `${nameA}: ${percent(a[s][e], 2)}\n${nameB}: ${percent(b[s][e], 2)}\n` +
            `difference: ${(100 * v).toFixed(digits + 1)} points`
          : `${nameA}: ${percent(v, 2)}\nchance: ${percent(1 / E, 2)}`) }));
      if (cellW >= 34 && cellH >= 16)
        svg.append(make("text", { class: "cell-value", fill: inkOn(rgb),
          "pointer-events": "none", x: left + (e + 0.5) * cellW,
          y: y + cellH / 2 }, (100 * v).toFixed(digits)));
    }
  }
  const foot = top + L * cellH, step = Math.ceil(22 / cellW);
  svg.append(make("g", { class: "axis" }, Array.from({ length: E }, (_, e) =>
    e % step ? null : make("text", { x: left + (e + 0.5) * cellW, y: foot + 16,
      "text-anchor": "middle", class: "minor" }, String(e)))));
  heatKey(svg, left, foot + 28, width, b ? (t) => colourOf((2 * t - 1) * most)
    : (t) => colourOf(t * most), b ? [`\u2212${(100 * most).toFixed(digits)}`,
    "0", `+${(100 * most).toFixed(digits)} points`] : ["0", "", percent(most)],
  b ? "Difference of the shares" : `Share of assignments (chance: ${percent(1 / E)})`);
  box.replaceChildren(svg);
}

/* Colours from one end of the scale to the other, and what they mean. */
function heatKey(svg, left, y, width, colourAt, ends, title) {
  const keyW = Math.min(260, width - left), parts = 40;
  for (let i = 0; i < parts; i++)
    svg.append(make("rect", { x: left + i * keyW / parts, y: y + 18, height: 12,
      width: keyW / parts + 0.5, fill: hexOf(colourAt(i / (parts - 1))) }));
  svg.append(make("g", { class: "axis" }, ends.map((text, i) =>
    make("text", { x: left + i * keyW / 2, y: y + 46, class: "minor",
      "text-anchor": ["start", "middle", "end"][i] }, text)),
  make("text", { x: left, y: y + 12, class: "chance-label" }, title)));
}

/* All groups of a set side by side, where gnuplot's drawing is too large for the
 * page. Squares of one shade are one path. */
function drawOverview(box, set) {
  const SHADES = 48, E = DATA.experts, L = DATA.layers.length, left = 30;
  const width = box.clientWidth, n = set.groups.length;
  const rows = Math.ceil(n / Math.max(1, Math.floor(width / 230)));
  const grid = Math.ceil(n / rows), w = width / grid - left - 8;
  const cellW = w / E, cellH = Math.max(3, Math.min(14, 160 / L)), top = 24;
  const panelH = top + L * cellH + 30, height = rows * panelH + 52;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    height, "aria-label": box.getAttribute("aria-label") });
  const share = set.shares[set.shares.length - 1];
  const most = Math.max(1 / E, ...share.flat(2));
  set.groups.forEach((name, g) => {
    const x0 = g % grid * (width / grid) + left;
    const y0 = Math.floor(g / grid) * panelH + top;
    const paths = Array.from({ length: SHADES }, () => "");
    for (let s = 0; s < L; s++)
      for (let e = 0; e < E; e++) {
        const v = share[g][s][e];
        if (v !== null)
          paths[Math.round(v / most * (SHADES - 1))] +=
            `M${(x0 + e * cellW).toFixed(1)} ${(y0 + s * cellH).toFixed(1)}` +
            `h${(cellW + 0.4).toFixed(1)}v${(cellH + 0.4).toFixed(1)}` +
            `h-${(cellW + 0.4).toFixed(1)}z`;
      }
    svg.append(make("text", { x: x0, y: y0 - 7, class: "panel-title" }, name),
      ...paths.map((d, i) => make("path", { d,
        fill: hexOf(ramp(STYLE.sequential, i / (SHADES - 1))) })),
      make("g", { class: "axis" }, [0, L - 1].map((s) => make("text", { x: x0 - 5,
        y: y0 + (s + 0.5) * cellH + 4, "text-anchor": "end", class: "minor" },
      String(DATA.layers[s]))), [0, E - 1].map((e) => make("text", {
        x: x0 + (e + 0.5) * cellW, y: y0 + L * cellH + 14, class: "minor",
        "text-anchor": e ? "end" : "start" }, (e ? "" : "expert ") + e))));
  });
  heatKey(svg, left, height - 50, width, (t) => ramp(STYLE.sequential, t),
    ["0", "", percent(most)], `Share of assignments (chance: ${percent(1 / E)})`);
  box.replaceChildren(svg);
}

/* Draw again when the width of a box has changed. */
function follow(box, draw) {
  let seen = box.clientWidth;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (box.clientWidth === seen) return;
    seen = box.clientWidth;
    draw();
  })).observe(box);
}

/* What a heatmap shows at first: one group, or of two runs its difference. */
function pairOf(set) {
  return { a: 0, b: DATA.two ? set.groups.length / 2 : "" };
}

/* One figure: controls, key and a drawing that follows the width. */
function interactive(figure) {
  const kind = figure.dataset.chart, canvas = figure.querySelector(".canvas");
  const label = figure.dataset.label;
  const sets = DATA.sets.filter((s) => kind === "repeats" ? s.repeats : s.shares);
  if (!sets.length) return;
  const last = DATA.layers.length - 1, either = DATA.choices.length - 1;
  const state = { set: 0, only: null, choice: either, rows: "paper",
    ...pairOf(sets[0]) };
  const box = make("div", { class: "canvas" });
  const bar = make("div", { class: "controls" }), key = make("div");
  box.dataset.label = label;
  canvas.replaceWith(bar, key, box);

  function rows() {
    return state.rows !== "paper" ? [Number(state.rows)]
      : [...new Set([0, Math.floor(last / 2), last])];
  }
  function draw() {
    const set = sets[state.set];
    if (!box.clientWidth) return;
    if (kind === "repeats") drawRepeats(box, set, state);
    else if (kind === "heatmap") drawHeat(box, set, state);
    else drawShares(box, set, rows(), kind === "choices"
      ? DATA.choices.map((_, i) => i) : [either], state);
  }
  function redraw(focus) {
    draw();
    if (kind === "heatmap") return;
    key.replaceChildren(...[legend(sets[state.set], state, redraw,
      kind === "repeats"), kind === "repeats"
      ? repeatsKey(sets[state.set], state) : null].filter(Boolean));
    if (typeof focus === "number") key.querySelectorAll("button")[focus].focus();
  }
  function controls() {
    const set = sets[state.set], all = [];
    if (sets.length > 1)
      all.push(choice("Texts by", sets.map((s, i) => [i, s.by]), state.set,
        (v) => { Object.assign(state, { set: Number(v), only: null,
          ...pairOf(sets[v]) });
          controls(); redraw(); }));
    if ((kind === "shares" || kind === "choices") && last > 0)
      all.push(choice("Layers", [["paper", "first, middle, last"]].concat(
        DATA.layers.map((layer, s) => [s, "layer " + layer])), state.rows,
      (v) => { state.rows = v; draw(); }));
    if (kind === "heatmap") {
      const names = set.groups.map((name, g) => [g, name]);
      if (names.length > 1)
        all.push(choice("Share of", names, state.a,
          (v) => { state.a = Number(v); draw(); }),
        choice("minus", [["", "nothing"]].concat(names), String(state.b),
          (v) => { state.b = v === "" ? "" : Number(v); draw(); }));
      all.push(choice("Choice", DATA.choices.map((c, i) => [i, c]), state.choice,
        (v) => { state.choice = Number(v); draw(); }));
    }
    bar.replaceChildren(...all);
  }
  controls();
  redraw();
  follow(box, draw);
  onPaper(redraw);
}

document.querySelectorAll("figure[data-chart]").forEach(interactive);
document.querySelectorAll("#heatmap figure.static .canvas").forEach((box, i) => {
  const set = DATA.sets[i];
  if (!set || !set.shares || box.querySelector("svg")) return;
  const draw = () => { if (box.clientWidth) drawOverview(box, set); };
  draw();
  follow(box, draw);
});
