// Look at a report with headless Chromium: pictures at two sizes, light and dark, both languages; console errors, requests, axe.
//
//     npm install puppeteer-core axe-core        (in any folder; run from there)
//     node PATH/tools/check_report.mjs runs/intent/report/report.html pictures/
//
// Exits with 1 if a page is wider than its window, asks for anything but itself, complains, or breaks a rule of axe.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.cwd(), "package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [page_file, folder = "pictures", chromium = "/usr/bin/chromium"] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--font-render-hinting=none"] });
const problems = [];
for (const width of [390, 1280]) {
  for (const scheme of ["light", "dark"]) {
    for (const language of ["zh", "en"]) {
      const name = `${width}-${scheme}-${language}`;
      const page = await browser.newPage();
      await page.setViewport({ width, height: 900, deviceScaleFactor: 1, isMobile: width < 600 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      page.on("console", (message) => problems.push(`${name}: console: ${message.text()}`));
      page.on("pageerror", (error) => problems.push(`${name}: error: ${error.message}`));
      page.on("request", (request) => request.url().startsWith("file:") || problems.push(`${name}: request: ${request.url()}`));
      await page.goto(pathToFileURL(resolve(page_file)).href, { waitUntil: "load" });
      await page.click(`label[for="language-${language}"]`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) problems.push(`${name}: ${wide} px wider than the window`);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
      for (const rule of found.violations) {
        problems.push(`${name}: axe ${rule.impact} ${rule.id}: ${rule.help}: ${rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 120)).join(" | ")}`);
      }
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
      console.log(`${name}: ${found.passes.length} rules of axe passed, ${found.violations.length} broken`);
      await page.close();
    }
  }
}
await browser.close();
console.log(problems.length ? problems.join("\n") : "no problems");
process.exit(problems.length ? 1 : 0);
