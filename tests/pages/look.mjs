// Looks at pages in a browser, wide, narrow, dark and in print, and operates them as a reader does.
//
//     node look.mjs CRITICS PAGES
//
// CRITICS is where npm has put the driver and the critics, PAGES a directory of pages. What is wrong is told, a line each;
// the last line counts.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [critics, pages] = process.argv.slice(2);
const require = createRequire(join(critics, "package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const { HtmlValidate } = await import(pathToFileURL(require.resolve("html-validate")));

let passed = 0;
const wrong = [];
const holds = (page, what, complaints) => {
  if (complaints.length) wrong.push(...complaints.slice(0, 8).map(said => `${page}, ${what}: ${said}`));
  else passed++;
};

const critic = new HtmlValidate({ extends: ["html-validate:recommended"] });
const valid = async text => {
  const report = await critic.validateString(text);
  return report.results.flatMap(result => result.messages.map(at => `${at.ruleId}: ${at.message} (${at.line}:${at.column})`));
};

const accessible = async page => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target} ${node.any[0]?.message ?? rule.help}`));
};

// What sticks out of the page, whatever scrolls within it.
const sticksOut = page => page.evaluate(() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const wide = [...document.querySelectorAll("body *")].filter(element => element.getBoundingClientRect().right > root.clientWidth + 1);
  const name = element => element.tagName + (element.id && "#" + element.id) + (element.className.length ? "." + element.className : "");
  return [`${root.scrollWidth - root.clientWidth} px: ${wide.slice(0, 4).map(name).join(" ")}`];
});

// Where charts are asked: near the middle, and between the round values on which steps lie.
const ASKED = 0.5137;
// Values there, computed from a chart's data and apart from the page's script; null where there is none.
const asked = data => {
  const [kind, from, to] = data.x;
  const nines = share => -Math.log10(1 - share);
  const between = (a, b) => a + (b - a) * ASKED;
  const x = kind === "log" ? Math.exp(between(Math.log(from), Math.log(to)))
    : kind === "tail" ? 1 - 10 ** -between(nines(from), nines(Math.min(to, 1 - 1e-9))) : between(from, to);
  return data.layers.map(layer => {
    const points = Array.from({ length: layer.p.length / 2 }, (_, at) => layer.p.slice(2 * at, 2 * at + 2));
    const before = points.filter(([at]) => at <= x).at(-1), after = points.find(([at]) => at > x);
    if (layer.s === "rule" || layer.s === "point" || !before) return null;
    if (layer.s === "step" || !after) return layer.s === "step" ? before[1] : null;
    return before[1] + (after[1] - before[1]) * (x - before[0]) / (after[0] - before[0]);
  });
};
const size = { share: text => parseFloat(text) / 100, count: text => parseFloat(text.replaceAll(",", "")) };

const operates = async page => {
  const said = [];
  const must = (is, what) => { if (!is) said.push(what); };
  const figures = await page.$$("figure[data-chart]");
  for (const figure of figures) {
    const id = await figure.evaluate(figure => figure.id || figure.querySelector("figcaption")?.textContent);
    const svg = await figure.$("svg.chart");
    if (!(await svg.boundingBox())) continue;
    const data = JSON.parse(await figure.evaluate(figure => figure.dataset.chart));
    const reading = () => figure.$eval("output", output => output.textContent);
    await svg.evaluate(svg => svg.scrollIntoView({ block: "center" }));
    const at = share => figure.$eval("svg.chart", (svg, share) => {
      svg.whole ??= svg.querySelector("svg.plot").getAttribute("viewBox").split(" ").map(Number);
      const [left, top, width, height] = svg.whole;
      const place = new DOMPoint(left + width * share, top + height / 2).matrixTransform(svg.getScreenCTM());
      return [place.x, place.y];
    }, share);
    await page.mouse.move(...await at(ASKED));
    const pointed = await reading();
    if (!data.names) {
      const values = asked(data), parse = size[data.y];
      values.forEach((value, index) => {
        const layer = data.layers[index].n;
        if (value === null || !parse) return;
        const text = pointed.split(layer + " ")[1];
        const near = text !== undefined && Math.abs(parse(text) - value) <= Math.max(0.03 * Math.abs(value), data.y === "share" ? 0.005 : 1);
        must(near, `${id}: ${layer} there is ${value}, and it says "${pointed}"`);
      });
    }
    must(pointed.includes(":"), `${id}: pointing at it says "${pointed}"`);

    await svg.evaluate(svg => svg.focus({ preventScroll: true }));
    await page.keyboard.press("Home");
    const first = await reading();
    await page.keyboard.press("ArrowRight");
    const second = await reading();
    must(first.includes(":") && (first !== second || data.names?.length === 1), `${id}: the arrow changes nothing: "${first}"`);
    await page.keyboard.press("Escape");

    const legend = await figure.$(".legend button");
    if (legend) {
      const layer = data.layers[await legend.evaluate(button => Number(button.parentElement.dataset.layer))].n;
      await page.mouse.move(...await at(0.5));
      await legend.evaluate(button => button.click());
      const hidden = await figure.evaluate(figure => {
        const index = figure.querySelector(".legend button").parentElement.dataset.layer;
        return [...figure.querySelectorAll(`svg.chart [data-layer="${index}"]`)].every(group => group.getAttribute("visibility") === "hidden");
      });
      must(hidden, `${id}: the legend hides no layer`);
      must(!(await reading()).split(", ").some(part => part.split(": ").at(-1).startsWith(layer + " ")), `${id}: a hidden layer is still read`);
      await legend.evaluate(button => button.click());
    }

    if (!data.shared) continue;
    const views = () => page.$$eval("figure[data-chart] svg.plot", plots => plots.map(plot => plot.getAttribute("viewBox")));
    const before = await views();
    await svg.evaluate(svg => svg.focus({ preventScroll: true }));
    await page.mouse.move(...await at(0.4));
    await page.mouse.down();
    await page.mouse.move(...await at(0.6), { steps: 4 });
    await page.mouse.up();
    const dragged = await views();
    must(dragged.some((view, index) => view !== before[index]), `${id}: dragging does not zoom`);
    must(await figure.$eval("button[hidden], .tools button", button => !button.hidden), `${id}: there is no way back from a zoom`);
    await page.keyboard.press("0");
    must((await views()).every((view, index) => view === before[index]), `${id}: 0 does not bring the whole back`);
    const cursors = await page.$$eval("figure[data-chart]", list => list.filter(figure => JSON.parse(figure.dataset.chart).shared
      && figure.querySelector("svg.chart").getBoundingClientRect().width).length);
    await page.mouse.move(...await at(0.5));
    const shown = await page.$$eval("line.cursor", lines => new Set(lines.filter(line => line.getAttribute("visibility") !== "hidden")
      .map(line => line.closest("figure"))).size);
    must(shown > 0 && shown <= cursors, `${id}: a cursor in ${shown} of ${cursors} charts`);
  }
  return said;
};

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
for (const file of readdirSync(pages).filter(name => name.endsWith(".html"))) {
  const path = join(pages, file), name = file.replace(".html", "");
  const text = readFileSync(path, "utf8");
  holds(name, "HTML", await valid(text));
  const page = await browser.newPage();
  const console_ = [];
  page.on("console", message => console_.push(message.text()));
  page.on("pageerror", error => console_.push(String(error)));
  for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(pathToFileURL(path).href);
    const where = `${width} px, ${scheme}`;
    holds(name, where, await accessible(page));
    holds(name, where, await sticksOut(page));
    if ((width > 1000) === (scheme === "light")) await page.screenshot({ path: join(pages, `${name}-${width}-${scheme}.png`), fullPage: true });
  }
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(pathToFileURL(path).href);
  if (await page.$("figure[data-chart]")) holds(name, "operated", await operates(page));
  holds(name, "console", console_);

  // A4 between margins of 14 mm, at 96 pixels an inch.
  await page.setViewport({ width: 688, height: 1000 });
  await page.emulateMediaType("print");
  await page.goto(pathToFileURL(path).href);
  holds(name, "print", await sticksOut(page));
  await page.pdf({ path: join(pages, `${name}.pdf`), format: "A4", preferCSSPageSize: true });
  await page.close();

  const bare = await browser.newPage();
  await bare.setJavaScriptEnabled(false);
  await bare.goto(pathToFileURL(path).href);
  const text_ = await bare.$eval("main, body", body => body.innerText.length);
  holds(name, "without a script", text_ > 500 ? [] : [`${text_} characters`]);
  await bare.close();
}
await browser.close();

wrong.forEach(said => console.log(said));
console.log(`${passed} passed, ${wrong.length} failed`);
process.exitCode = wrong.length || !passed ? 1 : 0;
