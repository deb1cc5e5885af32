/* What all parts of the page use. Text of the trace reaches the page through
 * textContent and setAttribute only, never as markup. */
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const STYLE = DATA.style;
document.documentElement.classList.add("js");

/* An element: attributes whose name begins with "on" are listeners. */
function make(tag, attributes, ...children) {
  const svg = ["svg", "g", "rect", "line", "path", "circle", "text", "title",
    "polygon"].includes(tag);
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) e.setAttribute(name, value);
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined) e.append(child);
  return e;
}

const isolate = (text) => make("bdi", null, text);

/* Numbers for people. */
const percent = (v, digits = 1) =>
  v === null || v === undefined ? "unknown" : (100 * v).toFixed(digits) + " %";
const count = (n) => n.toLocaleString("en");

/* Colours. */
const rgbOf = (hex) =>
  [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const hexOf = (rgb) =>
  "#" + rgb.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("");
const mix = (a, b, t) => a.map((v, i) => v + (b[i] - v) * t);
function luminance(rgb) {
  const l = rgb.map((v) =>
    v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2];
}
function contrast(a, b) {
  const x = luminance(a), y = luminance(b);
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const paperColour = () => printing ? [255, 255, 255]
  : rgbOf(getComputedStyle(document.documentElement)
    .getPropertyValue("--paper").trim());

/* Draw again when the paper changes: another scheme, or a printer. */
function onPaper(draw) {
  dark.addEventListener("change", () => draw());
  for (const [name, value] of [["beforeprint", true], ["afterprint", false]])
    window.addEventListener(name, () => { printing = value; draw(); });
}
const inkOn = (rgb) =>
  contrast(rgb, [0, 0, 0]) > contrast(rgb, [255, 255, 255])
    ? "#000000" : "#ffffff";

/* A colour of the style, moved until it stands out from the paper (3 to 1). */
function visible(hex) {
  const paper = paperColour();
  const away = luminance(paper) > 0.4 ? [0, 0, 0] : [255, 255, 255];
  let rgb = rgbOf(hex);
  for (let i = 0; i < 20 && contrast(rgb, paper) < 3; i++)
    rgb = mix(rgb, away, 0.06);
  return hexOf(rgb);
}

/* A value from 0 to 1 on a list of evenly spaced stops. */
function ramp(stops, t) {
  const at = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  return mix(rgbOf(stops[i]), rgbOf(stops[i + 1]), at - i);
}

/* Bytes from base64, as numbers of one or two bytes, little end first. */
function unpack(text, width) {
  const raw = atob(text), out = new Uint16Array(raw.length / width);
  for (let i = 0; i < out.length; i++)
    out[i] = width === 1 ? raw.charCodeAt(i)
      : raw.charCodeAt(2 * i) | raw.charCodeAt(2 * i + 1) << 8;
  return out;
}

/* One tip for all marks that carry data-tip. */
const tip = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
document.body.append(tip);
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 12,
    window.innerWidth - box.width - 4)) + "px";
  tip.style.top = (y + box.height + 20 > window.innerHeight
    ? y - box.height - 8 : y + 14) + "px";
}
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest ? event.target.closest("[data-tip]") : null;
  if (mark) showTip(mark.getAttribute("data-tip"), event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("pointerleave", () => { tip.hidden = true; });
document.addEventListener("scroll", () => { tip.hidden = true; }, true);

/* A labelled choice; values are [value, text]. */
function choice(label, values, value, change) {
  const select = make("select", { onchange: (e) => change(e.target.value) },
    values.map(([v, text]) => make("option", { value: v }, text)));
  select.value = value;
  return make("label", null, label, select);
}
