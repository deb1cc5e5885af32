/* The token explorer: the text of some documents, each token coloured by the
 * expert that took it. The paper's Figure 8, for every layer and choice. */

const X = DATA.explorer;
const RANKS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh",
  "eighth"];
const KEYS = 24; /* experts that have a button */
const NONE = 65535; /* unknown number; an expert that is not known */

function explorer(root) {
  const piece = unpack(X.piece, 2), nll = unpack(X.nll, 2);
  const S = DATA.layers.length, E = DATA.experts;
  /* The routes of the run, or of the two runs that are compared. */
  const runs = [X, X.other].filter(Boolean).map((x, i) => ({
    name: X.other ? "AB"[i] : "", k: x.top_k, expert: unpack(x.expert, x.width),
    gate: x.has_gate ? unpack(x.gate, 1) : null,
    margin: x.has_margin ? unpack(x.margin, 2) : null, width: x.width }));
  const both = runs.length > 1;
  const state = { run: runs[0], doc: 0, slot: Math.floor((S - 1) / 2), rank: 0, gates: false,
    numbers: false, only: null, search: "", here: -1 };

  const text = make("div", { class: "tokens", role: "group", tabindex: "-1",
    "aria-label": "Tokens of the document; arrow keys move between them" });
  const panel = make("div", { class: "panel" });
  const said = make("p", { class: "note", role: "status" });
  const told = make("p", { class: "told", role: "status" });
  const keys = make("ul", { class: "keys", "aria-label": "Experts" });
  const source = make("p", { class: "note" });
  let spans = [], first = 0, alonePick = null;

  const beginnings = new Set(X.bos); /* tokens that begin a window */
  const expertAt = (t, s, r, run = state.run) => {
    const e = r < run.k ? run.expert[(t * S + s) * run.k + r] : NONE;
    return run.width === 1 && e === 255 ? NONE : e;
  };
  const gateAt = (t, s, r, run = state.run) =>
    run.gate[(t * S + s) * run.k + r] / 255;
  const hasGate = runs.some((run) => run.gate);

  /* Do the runs choose other experts, in any order? */
  function differs(t, s) {
    if (!both) return false;
    const [a, b] = runs.map((run) => Array.from({ length: run.k },
      (_, r) => expertAt(t, s, r, run)));
    return a.length !== b.length || a.some((e) => !b.includes(e));
  }

  /* How strong the colour is: the gate, from its least to its greatest. */
  function strength(t) {
    if (!state.gates || !state.run.gate) return 1;
    const g = gateAt(t, state.slot, state.rank);
    const low = state.rank === 0 ? 1 / state.run.k : 0;
    const high = state.rank === 0 ? 1 : 1 / (state.rank + 1);
    return 0.12 + 0.88 * Math.min(1, Math.max(0, (g - low) / (high - low || 1)));
  }

  function paint() {
    const paper = paperColour(), find = state.search;
    let hits = 0;
    spans.forEach((span, i) => {
      const t = first + i, e = expertAt(t, state.slot, state.rank);
      const hit = find !== "" && matches(t);
      const known = e !== NONE && !beginnings.has(t);
      const rgb = known
        ? mix(paper, rgbOf(STYLE.experts[e]), strength(t)) : paper;
      hits += hit;
      span.style.backgroundColor = known ? hexOf(rgb) : "";
      span.style.color = known ? inkOn(rgb) : "";
      span.classList.toggle("none", !known);
      span.classList.toggle("hit", hit);
      span.classList.toggle("differs", differs(t, state.slot));
      span.classList.toggle("faint", state.only !== null && e !== state.only);
      const sub = span.querySelector("sub");
      if (sub) sub.remove();
      if (state.numbers && known)
        span.append(make("sub", { "aria-hidden": "true" }, String(e)));
    });
    const alone = spans.filter((_, i) =>
      expertAt(first + i, state.slot, state.rank) === state.only).length;
    said.textContent = [find === "" ? "" : `${hits} of ${spans.length} tokens ` +
      "of this excerpt match the search.", state.only === null ? ""
      : `Expert ${state.only} alone: ${alone} of ${spans.length} tokens.`]
      .join(" ").trim();
    drawKeys();
    if (state.here >= 0) describe(state.here);
  }

  function drawKeys() {
    const tokens = spans.length, used = new Array(E).fill(0);
    for (let t = first; t < first + tokens; t++) {
      const e = expertAt(t, state.slot, state.rank);
      if (e !== NONE) used[e]++;
    }
    const order = Array.from({ length: E }, (_, e) => e);
    if (E > KEYS) order.sort((a, b) => used[b] - used[a]).splice(KEYS);
    if (alonePick) alonePick.value = state.only === null ? "" : state.only;
    keys.replaceChildren(...order.map((e) => make("li", null,
      make("button", { type: "button", "data-expert": e,
        "aria-pressed": state.only === e ? "true" : "false",
        "aria-label": `expert ${e}, ${used[e]} tokens; press to dim the others`,
        style: `background:${STYLE.experts[e]};color:${inkOn(rgbOf(STYLE.experts[e]))}`,
        onclick: () => { state.only = state.only === e ? null : e; paint();
          keys.querySelector(`[data-expert="${e}"]`).focus(); } },
      `${e} · ${used[e]}`))));
  }

  function load(doc) {
    const d = X.docs[doc];
    state.doc = doc;
    state.here = -1;
    first = d.first;
    spans = [];
    const parts = [];
    for (let t = d.first; t < d.first + d.shown; t++) {
      const name = beginnings.has(t) ? "BOS" : X.pieces[piece[t]] || "?";
      /* A break at the end stands behind the token, or its colour would wrap. */
      const ends = name.endsWith("\n");
      const span = make("span", { tabindex: spans.length ? "-1" : "0",
        "data-i": spans.length, class: beginnings.has(t) ? "bos" : null },
      make("bdi", null, ends ? name.slice(0, -1) : name));
      spans.push(span);
      parts.push(span, ends ? "\n" : "");
    }
    text.replaceChildren(...parts);
    text.scrollTop = 0;
    source.replaceChildren(isolate(d.title || d.path || "document " + d.id),
      `. Document ${d.id}` + (d.path ? ", " : ""), isolate(d.path),
      `: ${d.shown === d.tokens ? "all " + count(d.tokens) + " tokens"
        : "tokens 0 to " + count(d.shown - 1) + " of " + count(d.tokens)}.`);
    panel.replaceChildren(make("p", { class: "note" },
      "Point at a token, or move to one with the arrow keys."));
    paint();
  }

  /* Where the token went in every layer: first choice filled, others open. */
  function path(t, run) {
    const w = 300, h = Math.min(220, 40 + 18 * Math.min(E, 10));
    const x = (s) => 30 + (S > 1 ? s * (w - 44) / (S - 1) : (w - 44) / 2);
    const y = (e) => 12 + e * (h - 40) / Math.max(1, E - 1);
    const svg = make("svg", { viewBox: `0 0 ${w} ${h}`, role: "img",
      "aria-label": `${both ? `In ${run.name}: e` : "E"}xperts of this token by ` +
        "layer: first choices " + DATA.layers.map((_, s) => {
          const e = expertAt(t, s, 0, run);
          return e === NONE ? "unknown" : e;
        }).join(", ") });
    svg.append(make("line", { x1: x(state.slot), x2: x(state.slot), y1: 4,
      y2: h - 24, stroke: "var(--line)", "stroke-width": 10 }));
    const stepE = Math.ceil(E / 10), stepS = Math.ceil(S / 10);
    for (let e = 0; e < E; e += stepE)
      svg.append(make("g", { class: "axis" }, make("text", { x: 18,
        y: y(e) + 4, "text-anchor": "end", class: "minor" }, String(e))));
    for (let s = 0; s < S; s += stepS)
      svg.append(make("g", { class: "axis" }, make("text", { x: x(s), y: h - 6,
        "text-anchor": "middle", class: "minor" }, String(DATA.layers[s]))));
    let line = "", pen = "M";
    for (let s = 0; s < S; s++) {
      const e = expertAt(t, s, 0, run);
      if (e === NONE) { pen = "M"; continue; }
      line += pen + x(s) + " " + y(e);
      pen = "L";
    }
    svg.append(make("path", { d: line, class: "series", stroke: "var(--soft)" }));
    for (let s = 0; s < S; s++)
      for (let r = run.k - 1; r >= 0; r--) {
        const e = expertAt(t, s, r, run);
        if (e === NONE) continue;
        svg.append(make("circle", { cx: x(s), cy: y(e),
          r: S > 40 ? 2.5 : run.gate ? 2 + 4 * gateAt(t, s, r, run) : 4,
          fill: r === 0 ? "var(--ink)" : "var(--paper)", stroke: "var(--ink)" }));
      }
    return svg;
  }

  function describe(i) {
    const t = first + i, d = X.docs[state.doc], s = state.slot;
    const list = make("dl");
    const row = (name, value) =>
      list.append(make("dt", null, name), make("dd", null, value));
    const p = nll[t] === NONE ? null : nll[t] / 1000;
    row("token id", X.ids[piece[t]] === undefined ? "unknown"
      : String(X.ids[piece[t]]));
    row("position", count(i));
    row("surprise", p === null ? "none (nothing before it)"
      : `${p.toFixed(2)} nats, p = ${Math.exp(-p).toPrecision(2)}`);
    for (const run of runs) {
      const name = (text) => both ? `${run.name}: ${text}` : text;
      for (let r = 0; r < run.k; r++) {
        const e = expertAt(t, s, r, run);
        row(name(RANKS[r] || `choice ${r + 1}`), e === NONE ? "unknown"
          : `expert ${e}` + (run.gate ? `, gate ${gateAt(t, s, r, run).toFixed(2)}`
            : ""));
      }
      if (run.margin) {
        const m = run.margin[t * S + s];
        row(name("margin"), m === NONE ? "unknown" : (m / 1000).toFixed(3) +
          (m / 1000 < 0.1 ? " (nearly a tie)" : ""));
      }
    }
    if (both) {
      const n = DATA.layers.filter((_, l) => differs(t, l)).length;
      row("differs in", `${n} of ${S} layers`);
    }
    panel.replaceChildren(
      make("h4", null, isolate(beginnings.has(t) ? "BOS"
        : (X.pieces[piece[t]] || "?").trimEnd() || "blank")),
      make("p", { class: "note" }, `In layer ${DATA.layers[s]} of `,
        isolate(d.domain || "document " + d.id), ":"),
      list, runs.map((run) => [both ? make("p", { class: "note" },
        `Run ${run.name}:`) : null, path(t, run)]),
      make("p", { class: "note" },
        "Experts over the layers: filled is the first choice" +
        (hasGate ? "; size is the gate" : "") + "."));
  }

  function go(i) {
    if (i < 0 || i >= spans.length) return;
    if (state.here >= 0) {
      spans[state.here].classList.remove("here");
      spans[state.here].tabIndex = -1;
    }
    state.here = i;
    spans[i].classList.add("here");
    spans[i].tabIndex = 0;
    describe(i);
  }

  /* For those who hear the page: what the panel shows, in a line. */
  function tell(i) {
    const t = first + i, e = expertAt(t, state.slot, state.rank);
    told.textContent = `position ${i}: ` + (beginnings.has(t) ? "BOS"
      : e === NONE ? "expert unknown" : `expert ${e}` + (state.run.gate
        ? `, gate ${gateAt(t, state.slot, state.rank).toFixed(2)}` : ""));
  }

  const matches = (t) => !beginnings.has(t) &&
    (X.pieces[piece[t]] || "").toLowerCase().includes(state.search.toLowerCase());

  /* The next match behind (step 1) or before (-1) the token at hand, if need be
   * in another document. */
  function seek(step) {
    const n = X.docs.length;
    for (let turn = 0; turn <= n; turn++) {
      const doc = (state.doc + step * turn + n * n) % n, d = X.docs[doc];
      const from = turn ? (step > 0 ? 0 : d.shown - 1)
        : state.here < 0 ? (step > 0 ? 0 : d.shown - 1) : state.here + step;
      for (let i = from; i >= 0 && i < d.shown; i += step)
        if (matches(d.first + i)) {
          if (turn) {
            picker.value = doc;
            load(doc);
          }
          go(i);
          tell(i);
          spans[i].scrollIntoView({ block: "nearest" });
          return i;
        }
    }
    return -1;
  }

  const indexOf = (node) => {
    const span = node.closest ? node.closest("[data-i]") : null;
    return span ? Number(span.dataset.i) : -1;
  };
  text.addEventListener("pointerover", (event) => {
    const i = indexOf(event.target);
    if (i >= 0) go(i);
  });
  text.addEventListener("focusin", (event) => {
    const i = indexOf(event.target);
    if (i < 0) return;
    go(i);
    tell(i);
  });
  /* The token above or below: the nearest one on another line. */
  function vertical(i, step) {
    const from = spans[i].getBoundingClientRect(), mid = from.left;
    let best = -1, far = Infinity, line = null;
    for (let j = i + step; j >= 0 && j < spans.length; j += step) {
      const box = spans[j].getBoundingClientRect();
      if (Math.abs(box.top - from.top) < 4) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > 4) break;
      if (Math.abs(box.left - mid) < far) { far = Math.abs(box.left - mid); best = j; }
    }
    return best;
  }
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && state.search !== "") {
      const i = seek(event.shiftKey ? -1 : 1);
      if (i >= 0) spans[i].focus();
      return;
    }
    const i = Math.max(0, state.here);
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0,
      End: spans.length - 1 }[event.key];
    const next = to !== undefined ? to : event.key === "ArrowDown"
      ? vertical(i, 1) : event.key === "ArrowUp" ? vertical(i, -1) : null;
    if (next === null) return;
    event.preventDefault();
    if (next >= 0 && next < spans.length) spans[next].focus();
  });

  /* The buttons are of those that take most of the excerpt: the list has all. */
  const alone = E > KEYS ? choice("Expert alone", [["", "all experts"]].concat(
    Array.from({ length: E }, (_, e) => [e, "expert " + e])), "",
  (v) => { state.only = v === "" ? null : Number(v); paint(); }) : null;
  alonePick = alone && alone.querySelector("select");
  const layerName = make("output", null, "layer " + DATA.layers[state.slot]);
  const slider = make("input", { type: "range", min: 0, max: S - 1, step: 1,
    value: state.slot, "aria-label": "Layer",
    "aria-valuetext": "layer " + DATA.layers[state.slot], oninput: (event) => {
      state.slot = Number(event.target.value);
      layerName.textContent = "layer " + DATA.layers[state.slot];
      event.target.setAttribute("aria-valuetext", layerName.textContent);
      paint();
    } });
  const tick = (label, name) => make("label", { class: "inline" },
    make("input", { type: "checkbox", onchange: (event) => {
      state[name] = event.target.checked; paint(); } }), label);
  const search = make("input", { type: "search", autocomplete: "off",
    oninput: (event) => { state.search = event.target.value; paint(); },
    onkeydown: (event) => {
      if (event.key === "Enter" && state.search !== "")
        seek(event.shiftKey ? -1 : 1);
    } });
  const picker = make("select", { onchange: (event) =>
    load(Number(event.target.value)) }, X.docs.map((d, i) =>
    make("option", { value: i }, [d.domain, d.language].filter(Boolean)
      .join(" / ") + (d.domain || d.language ? ": " : "") +
      (d.title || d.path || "document " + d.id))));

  root.replaceChildren(
    make("div", { class: "controls" },
      make("label", null, "Document", picker),
      make("span", { class: "field" }, layerName, slider),
      both ? choice("Run", runs.map((run, i) => [i, run.name]), 0,
        (v) => { state.run = runs[v]; paint(); }) : null,
      choice("Choice", Array.from({ length: Math.max(...runs.map((run) => run.k)) },
        (_, r) => [r, RANKS[r] || `choice ${r + 1}`]), 0,
        (v) => { state.rank = Number(v); paint(); }),
      alone, make("label", null, "Search (Enter: next match)", search),
      hasGate ? tick("gate as strength", "gates") : null,
      tick("numbers", "numbers")),
    keys, said, told,
    make("div", { class: "split" }, text, panel), source);
  onPaper(paint);
  load(0);
}

if (X && X.docs.length) {
  const root = document.getElementById("explorer");
  if (root) explorer(root);
}
