/* The page of a report in a real browser:
 *   node page.cjs CHROMIUM REPORT.html PAIR.html
 * One line for each thing that is not as it should be; exit 1 if there is any. */
"use strict";

const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");
const axe = require("axe-core");

const SIZES = [[390, 844], [1280, 900], [1920, 1080]];
const PATIENCE_MS = 120000; /* a busy machine is no fault of the page */
let faults = 0;

function fault(text) {
  faults++;
  console.log(text);
}

function expect(truth, text) {
  if (!truth) fault(text);
}

/* Open a page; whatever it says, throws or asks for is a fault. */
async function open(browser, file, [width, height], scheme, label) {
  const context = await browser.newContext({ viewport: { width, height },
    colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.setDefaultNavigationTimeout(PATIENCE_MS);
  const url = pathToFileURL(path.resolve(file)).href;
  page.on("console", (m) => fault(`${label}: console ${m.type()}: ${m.text()}`));
  page.on("pageerror", (e) => fault(`${label}: ${e.message}`));
  page.on("dialog", (d) => { fault(`${label}: a dialog`); d.dismiss(); });
  page.on("request", (r) => {
    if (r.url() !== url) fault(`${label}: asks for ${r.url().slice(0, 80)}`);
  });
  await page.goto(url);
  await page.waitForSelector("#explorer [data-i]");
  return page;
}

async function accessible(page, label) {
  await page.evaluate(axe.source);
  const result = await page.evaluate(() => window.axe.run(document, {
    resultTypes: ["violations"],
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa",
      "best-practice"] }));
  expect(result.testEngine.name === "axe-core", `${label}: axe did not run`);
  for (const v of result.violations)
    fault(`${label}: axe: ${v.id} (${v.nodes.length}): ` +
      v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " +
        (n.any[0] ? n.any[0].message : "")).join(" | "));
}

async function whole(page, label) {
  const seen = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - window.innerWidth,
    charts: document.querySelectorAll("figure[data-spec], figure[data-chart]")
      .length,
    empty: [...document.querySelectorAll("figure[data-spec], figure[data-chart]")]
      .filter((f) => !f.querySelector(".canvas > svg > *"))
      .map((f) => f.dataset.spec || f.dataset.chart),
    unnamed: [...document.querySelectorAll("figure")].filter((f) =>
      !f.querySelector("figcaption")).length,
    alien: document.querySelectorAll("main img, main iframe, main script").length,
    ran: window.evil,
    text: document.body.textContent,
  }));
  expect(seen.wide <= 0, `${label}: ${seen.wide} pixels too wide`);
  expect(seen.charts > 3, `${label}: only ${seen.charts} charts`);
  expect(seen.empty.length === 0, `${label}: not drawn: ${seen.empty}`);
  expect(seen.unnamed === 0, `${label}: ${seen.unnamed} figures say nothing`);
  expect(seen.alien === 0, `${label}: text of the corpus became elements`);
  expect(seen.ran === undefined, `${label}: text of the corpus ran`);
  expect(seen.text.includes("<img src=x onerror="),
    `${label}: the hostile title is not shown`);
  expect(!/[\u202a-\u202e\u2066-\u2069\u0000-\u0008\u001b\ufeff]/.test(seen.text),
    `${label}: a control character is in the text`);
  expect(seen.text.includes("\u{1f600}"), `${label}: the emoji is lost`);
  expect(seen.text.includes("\\xFF") || seen.text.includes("<0xFF>"),
    `${label}: the byte that is no text is not shown`);
}

/* Everything of the explorer without a mouse. */
async function keyboard(page, label, two) {
  const colours = () => page.$$eval("#explorer .tokens [data-i]", (all) =>
    all.map((s) => s.style.backgroundColor).join());
  const slider = page.locator('#explorer input[type="range"]');
  await slider.focus();
  await page.keyboard.press("Home");
  const first = await colours();
  await page.keyboard.press("End");
  expect(await colours() !== first, `${label}: the slider changes nothing`);
  expect((await page.textContent("#explorer output")).includes("2"),
    `${label}: the slider does not say its layer`);

  await page.locator('#explorer .tokens [tabindex="0"]').focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  const told = await page.textContent("#explorer .panel");
  expect(told.includes("position2") && told.includes("expert"),
    `${label}: arrow keys do not describe the token: ${told.slice(0, 80)}`);
  expect(told.includes("A: first") === two, `${label}: routes of both runs`);
  const line = await page.textContent("#explorer .told");
  expect(/^position 2: expert \d, gate 0\.\d\d$/.test(line),
    `${label}: a listener is told of the token: ${line}`);
  await page.keyboard.press("End");
  expect((await page.textContent("#explorer .panel")).includes("position39"),
    `${label}: End does not go to the last token`);

  await page.locator("#explorer .keys button").first().focus();
  await page.keyboard.press("Enter");
  expect(await page.locator("#explorer .faint").count() > 0,
    `${label}: no token is dimmed`);
  expect(await page.evaluate(() =>
    document.activeElement.getAttribute("aria-pressed")) === "true",
  `${label}: the pressed expert lost the focus`);
  const said = page.locator('#explorer .note[role="status"]');
  expect(/^Expert \d alone: \d+ of 40 tokens/.test(await said.textContent()),
    `${label}: a listener is not told which expert is alone`);
  await page.keyboard.press("Space");
  expect(await page.locator("#explorer .faint").count() === 0,
    `${label}: tokens stay dimmed`);

  await page.locator('#explorer input[type="search"]').focus();
  await page.keyboard.type("w2");
  expect(await page.locator("#explorer .hit").count() > 0,
    `${label}: the search finds nothing`);
  const picker = page.locator("#explorer select").first();
  const document = await picker.inputValue();
  const places = [];
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Enter");
    const here = page.locator("#explorer .here");
    expect((await here.textContent()).includes("w2"),
      `${label}: Enter does not go to a match`);
    places.push(await picker.inputValue() + ":" + await here.getAttribute("data-i"));
  }
  expect(new Set(places).size === 8 &&
    places.some((place) => !place.startsWith(document + ":")),
  `${label}: Enter goes to ${places}`);
  await picker.focus();
  const before = await page.textContent("#explorer .tokens");
  await page.keyboard.press("ArrowDown");
  expect(await page.textContent("#explorer .tokens") !== before,
    `${label}: another document shows the same text`);
  if (two)
    expect(await page.locator("#explorer .differs").count() > 0,
      `${label}: no difference is marked`);
}

/* A key that keeps one group, and a heatmap of a difference. */
async function charts(page, label) {
  const button = page.locator('figure[data-chart="repeats"] .legend button');
  await button.first().focus();
  await page.keyboard.press("Enter");
  expect(await page.locator('figure[data-chart="repeats"] .dim').count() > 0,
    `${label}: the key dims nothing`);
  expect(await page.evaluate(() => document.activeElement.tagName) === "BUTTON",
    `${label}: the key lost the focus`);
  const heat = page.locator('figure[data-chart="heatmap"]');
  const plain = await heat.locator("svg").first().innerHTML();
  await heat.getByLabel("minus").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  const difference = await heat.locator("svg").first().innerHTML();
  expect(difference !== plain && difference.includes("points"),
    `${label}: no difference of two groups`);
}

/* On paper: no controls, nothing cut off, light colours also from dark ones. */
async function paper(page, label) {
  await page.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
  await page.emulateMedia({ media: "print" });
  const seen = await page.evaluate(() => ({
    shown: [...document.querySelectorAll("nav, .controls, .files, #explorer")]
      .filter((e) => e.getClientRects().length > 0).length,
    cut: [...document.querySelectorAll(".scroll, .canvas, .tokens, pre")]
      .filter((e) => e.getClientRects().length > 0 &&
        getComputedStyle(e).overflowX !== "visible").length,
    paper: getComputedStyle(document.body).backgroundColor,
    lines: [...document.querySelectorAll("path.series")]
      .filter((e) => e.getClientRects().length > 0)
      .map((e) => e.getAttribute("stroke")),
  }));
  expect(seen.shown === 0, `${label}: ${seen.shown} controls are printed`);
  expect(seen.cut === 0, `${label}: ${seen.cut} boxes are cut off`);
  expect(seen.paper === "rgb(255, 255, 255)", `${label}: on ${seen.paper}`);
  expect(seen.lines.includes("#332288"), `${label}: lines are ${seen.lines}`);
}

async function main() {
  const [, , program, report, pair] = process.argv;
  const browser = await chromium.launch({ executablePath: program,
    timeout: PATIENCE_MS,
    args: ["--no-sandbox", "--disable-gpu"] });
  for (const scheme of ["light", "dark"])
    for (const size of SIZES) {
      const label = `report, ${size[0]} px, ${scheme}`;
      const page = await open(browser, report, size, scheme, label);
      await whole(page, label);
      await page.$$eval("details", (all) => all.slice(0, 12)
        .forEach((d) => { d.open = true; }));
      await accessible(page, label);
      if (size[0] === 1280 && scheme === "light") {
        await keyboard(page, label, false);
        await charts(page, label);
      }
      if (size[0] === 1280 && scheme === "dark") await paper(page, label);
      await page.context().close();
    }
  for (const [size, scheme] of [[SIZES[1], "light"], [SIZES[0], "dark"]]) {
    const label = `two runs, ${size[0]} px, ${scheme}`;
    const page = await open(browser, pair, size, scheme, label);
    await whole(page, label);
    await accessible(page, label);
    if (scheme === "light") await keyboard(page, label, true);
    await page.context().close();
  }
  await browser.close();
  process.exit(faults ? 1 : 0);
}

main().catch((e) => { console.log(e.stack); process.exit(1); });
