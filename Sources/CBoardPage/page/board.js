"use strict";
// The board's page. Everything that comes from files is shown as text: elements are made with textContent, never from
// markup.

const token = document.querySelector('meta[name="token"]').content;
const main = document.getElementById("content");
const problem = document.getElementById("problem");
const news = document.getElementById("news");

// MARK: Elements

/** An element with attributes and children. Children that are not elements become text. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, ...children);
  return element;
}

function add(element, ...children) {
  for (const child of children.flat(3)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Text from a file or a person, in whatever direction it is written. */
const text = (tag, value, attributes) => h(tag, { dir: "auto", ...attributes }, value);

function setText(element, value) {
  value = String(value);
  if (element.textContent !== value) element.textContent = value;
}

/** A labeled field of a form. */
function field(label, control, note, isWide) {
  return h("label", { class: isWide ? "wide" : null }, h("span", null, label), control, note && h("small", null, note));
}

function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== undefined && pair[1] !== null && pair[1] !== "")
    .map(([name, value]) => h("div", null, h("dt", null, name), text("dd", value))));
}

// MARK: Numbers

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function short(value) {
  if (!isNumber(value)) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return value.toExponential(2);
  if (size >= 100) return value.toFixed(0);
  if (size >= 0.001) return value.toPrecision(4).replace(/\.?0+$/, "");
  return value.toExponential(1);
}

function bytes(value) {
  if (!isNumber(value)) return "";
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < 4) { value /= 1000; unit += 1; }
  return (unit === 0 || value >= 100 ? value.toFixed(0) : value.toPrecision(2)) + " " + units[unit];
}

function duration(seconds) {
  if (!isNumber(seconds)) return "";
  if (seconds < 60) return (seconds < 10 ? seconds.toPrecision(2) : seconds.toFixed(0)) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

const time = (seconds) => (isNumber(seconds) ? new Date(seconds * 1000).toLocaleString() : "");

// MARK: Requests

class Failure extends Error {
  constructor(message, status, code) { super(message); this.status = status; this.code = code; }
}

async function fetchResponse(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem("key");
  if (key) headers.Authorization = "Bearer " + key;
  if (options.method === "POST") headers["X-Swiftlet-Token"] = token;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The board does not answer. Start it again with: swiftlet board", 0);
  }
  if (response.ok) return response;
  let body = {};
  try { body = await response.json(); } catch { /* No JSON: the status says enough. */ }
  const failure = new Failure((body.error && body.error.message) || "The server answered " + response.status + ".",
    response.status, body.error && body.error.code);
  if (response.status === 401) askForKey();
  throw failure;
}

const get = async (path) => (await fetchResponse(path)).json();

const post = async (path, body) => (await fetchResponse(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}),
})).json();

/** The runs in the watched folder, whose name the page shows. */
async function getRuns() {
  const { folder, runs } = await get("api/runs");
  setText(document.getElementById("folder"), folder);
  return runs;
}

function askForKey() {
  if (document.getElementById("key")) return;
  const input = h("input", { type: "password", id: "key", autocomplete: "off", required: true });
  stopView();
  main.replaceChildren(h("h1", null, "API key"), h("form", {
    class: "form card",
    onsubmit: (event) => { event.preventDefault(); sessionStorage.setItem("key", input.value); show(); },
  }, field("The key that the board was started with", input), h("div", null, h("button", { class: "main" }, "Continue"))));
  input.focus();
}

function report(error) {
  if (error.name === "AbortError") return;
  problem.textContent = error.message;
}

function tell(sentence) { news.textContent = sentence; }

/** A button that does something on the server. */
function action(label, body, attributes) {
  const button = h("button", { type: "button", ...attributes, onclick: async () => {
    problem.textContent = "";
    button.disabled = true;
    try { await body(); } catch (error) { report(error); }
    button.disabled = false;
  } }, label);
  return button;
}

// MARK: Views

let view = { stop() {} };
let generation = 0;

function stopView() { view.stop(); view = { stop() {} }; }

/** Calls `body` now and every two seconds, while the view is shown and the page visible. */
function poll(body) {
  const mine = generation;
  let timer;
  let isEnded = false;
  async function turn() {
    if (isEnded || mine !== generation) return;
    if (!document.hidden) {
      try {
        await body();
        if (problem.dataset.polling) { problem.textContent = ""; delete problem.dataset.polling; }
      } catch (error) {
        report(error);
        problem.dataset.polling = "1";
      }
    }
    timer = setTimeout(turn, 2000);
  }
  turn();
  return () => { isEnded = true; clearTimeout(timer); };
}

const routes = { "": showRuns, run: showRun, new: showNew, compare: showCompare, audits: showAudits, audit: showAudit, jobs: showJobs };

function show() {
  generation += 1;
  stopView();
  problem.textContent = "";
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map(decodeURIComponent);
  const route = routes[parts[0]] || showRuns;
  for (const link of document.querySelectorAll("nav[aria-label=Board] a")) {
    const isCurrent = link.dataset.view === (parts[0] || "runs");
    if (isCurrent) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  main.replaceChildren();
  view = route(parts.slice(1), new URLSearchParams(query || "")) || { stop() {} };
  const heading = main.querySelector("h1");
  document.title = (heading ? heading.textContent + " · " : "") + "Swiftlet board";
  if (generation > 1) main.focus();
}

window.addEventListener("hashchange", show);
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

const runLink = (id, part) => "#/run/" + encodeURIComponent(id) + (part ? "/" + part : "");
const runPath = (id, part) => "api/runs/" + encodeURIComponent(id) + (part ? "/" + part : "");
const isActive = (run) => ["preparing", "training", "finishing"].includes(run.status);

function progressFacts(run) {
  return [
    ["Method", run.method], ["Model", run.model],
    ["Steps", isNumber(run.max_steps) ? (run.step || 0) + " of " + run.max_steps : ""],
    ["Loss", short(run.loss)], ["Validation loss", short(run.eval_loss)],
    ["Speed", isNumber(run.tokens_per_second) ? short(run.tokens_per_second) + " tokens/s" : ""],
    ["Memory", bytes(isActive(run) ? run.memory : run.peak_memory)],
    ["Time left", run.status === "training" ? duration(run.remaining_s) : ""],
    ["Began", time(run.began)],
  ];
}

/** What a run's card in the list and its own page say alike. */
function showStatus(run, status, progress, about) {
  status.className = "status " + run.status;
  setText(status, run.status);
  progress.hidden = !isNumber(run.max_steps) || run.max_steps < 1;
  if (!progress.hidden) { progress.max = run.max_steps; progress.value = run.step || 0; }
  about.replaceChildren(facts(progressFacts(run)));
  if (run.error) about.append(text("p", run.error, { class: "error" }));
}

// MARK: Runs

function showRuns() {
  const chosen = new Set();
  const compare = h("button", { type: "button", disabled: true, onclick: () => {
    location.hash = "#/compare?" + [...chosen].map((id) => "run=" + encodeURIComponent(id)).join("&");
  } }, "Compare the chosen runs");
  const list = h("ul", { class: "runs" });
  const empty = h("p", { class: "faint" }, "Looking for runs…");
  add(main, h("h1", null, "Runs"), h("div", { class: "row" }, h("a", { href: "#/new" }, "Start a run"), compare), empty, list);
  const cards = new Map();

  function card(run) {
    const status = h("span");
    const progress = h("progress", { max: 1, "aria-label": "Progress of " + run.name });
    const about = h("div");
    const box = h("input", { type: "checkbox", onchange: () => {
      if (box.checked) chosen.add(run.id); else chosen.delete(run.id);
      compare.disabled = chosen.size < 1;
    } });
    const item = h("li", { class: "card" },
      h("div", { class: "row apart" },
        h("h2", null, h("a", { href: runLink(run.id) }, text("bdi", run.id === "." ? run.name : run.id))),
        h("div", { class: "row" }, status, h("label", null, box, " Compare"))),
      about, progress);
    let shown = "";
    return { item, update(run) {
      const now = JSON.stringify(run);
      if (now === shown) return;
      shown = now;
      showStatus(run, status, progress, about);
    } };
  }

  return { stop: poll(async () => {
    const runs = await getRuns();
    empty.hidden = runs.length > 0;
    setText(empty, "There are no runs in this folder yet.");
    const ids = new Set(runs.map((run) => run.id));
    for (const [id, known] of cards) if (!ids.has(id)) { known.item.remove(); cards.delete(id); chosen.delete(id); }
    runs.forEach((run, index) => {
      if (!cards.has(run.id)) cards.set(run.id, card(run));
      const known = cards.get(run.id);
      known.update(run);
      if (list.children[index] !== known.item) list.insertBefore(known.item, list.children[index] || null);
    });
  }) };
}

// MARK: Charts

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const seriesColors = () => (matchMedia("(prefers-color-scheme: dark)").matches
  ? ["#8ab8ff", "#ffb36b", "#82d173", "#f29ac2", "#c9b3ff", "#7fd6d6"]
  : ["#0b57b8", "#a84b00", "#2b7a1f", "#a8236b", "#5a3fa8", "#006a6a"]);

/** A chart of values over steps. `series`: [{label, points: [[step, value], ...], isSparse}] */
function chart(title, format = short) {
  const caption = h("span");
  const place = h("div", { role: "img" });
  const figure = h("figure", { class: "card" }, h("figcaption", null, h("strong", null, title), caption), place);
  let plot;
  let key = "";
  let current = [];

  function describe() {
    const parts = current.map(({ label, points }) => {
      const [first, last] = [points[0], points[points.length - 1]];
      return [label, " " + format(first[1]) + (points.length > 1 ? " at step " + first[0] + ", " + format(last[1]) : "")
        + " at step " + last[0]];
    });
    const sentence = parts.map((part) => part.join("")).join("; ");
    const name = title + ": " + sentence;
    if (place.getAttribute("aria-label") === name) return;
    place.setAttribute("aria-label", name);
    // A name in another direction must not turn the numbers after it around.
    caption.replaceChildren();
    add(caption, parts.map((part, index) => [index > 0 && "; ", h("bdi", null, part[0]), part[1]]));
  }

  function data() {
    const steps = [...new Set(current.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    const places = new Map(steps.map((step, index) => [step, index]));
    return [steps, ...current.map((one) => {
      const values = new Array(steps.length).fill(null);
      for (const [step, value] of one.points) values[places.get(step)] = value;
      return values;
    })];
  }

  const width = () => Math.max(200, place.clientWidth || 300);

  function make() {
    if (plot) plot.destroy();
    const colors = seriesColors();
    const axis = (size) => ({
      stroke: css("--faint"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, size,
      font: "12px system-ui, sans-serif",
    });
    plot = new uPlot({
      width: width(), height: 220,
      scales: { x: { time: false } },
      axes: [axis(34), { ...axis(64), values: (self, values) => values.map((value) => format(value)) }],
      cursor: { drag: { x: true, y: false } },
      series: [{ label: "step" }, ...current.map((one, index) => ({
        label: one.label, stroke: colors[index % colors.length], width: 2, spanGaps: true,
        dash: one.isDashed ? [6, 4] : undefined,
        points: { show: one.points.length < 40 || one.isDashed, size: 5 },
        value: (self, value) => (value === null || value === undefined ? "–" : format(value)),
      }))],
    }, data(), place);
  }

  const observer = new ResizeObserver(() => { if (plot && plot.width !== width()) plot.setSize({ width: width(), height: 220 }); });
  observer.observe(place);
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => { if (plot) make(); };
  theme.addEventListener("change", redraw);

  return {
    figure,
    set(series) {
      current = series.filter((one) => one.points.length > 0);
      figure.hidden = current.length === 0;
      if (figure.hidden) return;
      describe();
      const now = current.map((one) => one.label + one.isDashed + (one.points.length < 40)).join("|");
      if (now !== key || !plot) { key = now; make(); } else { plot.setData(data()); }
    },
    stop() { observer.disconnect(); theme.removeEventListener("change", redraw); if (plot) plot.destroy(); },
  };
}

/** Follows the log of a run. */
function follow(id) {
  let cursor = null;
  let entries = [];
  return {
    get entries() { return entries; },
    async read() {
      let hasNew = false;
      for (let more = true; more;) {
        const piece = await get(runPath(id, "log") + (cursor ? "?cursor=" + encodeURIComponent(cursor) : ""));
        if (piece.reset) { entries = []; hasNew = true; }
        if (piece.entries.length) { entries = entries.concat(piece.entries); hasNew = true; }
        ({ cursor, more } = piece);
      }
      return hasNew;
    },
  };
}

const points = (entries, key) => entries.filter((entry) => isNumber(entry[key]) && isNumber(entry.step))
  .map((entry) => [entry.step, entry[key]]);

const knownKeys = new Set(["step", "epoch", "elapsed_s", "num_tokens", "loss", "eval_loss", "eval_num_tokens",
  "eval_runtime", "learning_rate", "grad_norm", "tokens_per_second", "memory", "mean_token_accuracy"]);

/** The charts of a run: the usual ones, and one for each further figure in its log. */
function runCharts(box) {
  const charts = new Map();
  function set(title, series, format) {
    if (!charts.has(title)) {
      if (!series.some((one) => one.points.length)) return;
      charts.set(title, chart(title, format));
      box.append(charts.get(title).figure);
    }
    charts.get(title).set(series);
  }
  return {
    update(entries) {
      set("Loss", [{ label: "training", points: points(entries, "loss") },
        { label: "validation", points: points(entries, "eval_loss"), isDashed: true }]);
      const one = (title, key, format) => set(title, [{ label: title.toLowerCase(), points: points(entries, key) }], format);
      one("Token accuracy", "mean_token_accuracy");
      const others = new Set();
      for (const entry of entries) {
        for (const key of Object.keys(entry)) {
          const name = key.replace(/^eval_/, "");
          if (!knownKeys.has(key) && !knownKeys.has(name) && isNumber(entry[key])) others.add(name);
        }
      }
      for (const name of others) {
        set(name, [{ label: "training", points: points(entries, name) },
          { label: "validation", points: points(entries, "eval_" + name), isDashed: true }]);
      }
      one("Gradient norm", "grad_norm");
      one("Learning rate", "learning_rate");
      one("Tokens per second", "tokens_per_second");
      one("Memory", "memory", bytes);
    },
    stop() { for (const one of charts.values()) one.stop(); },
  };
}

// MARK: One run

const runParts = {
  "": ["Progress", showProgress], answers: ["Answers", showAnswers], rows: ["Rows", showRows], plan: ["Plan", showPlan],
  recipe: ["Recipe", showRecipe], chat: ["Chat", showChat], printed: ["Output", showPrinted],
};

function showRun([id, part = ""]) {
  const status = h("span");
  const buttons = h("div", { class: "row" });
  const about = h("div");
  const progress = h("progress", { max: 1, "aria-label": "Progress", hidden: true });
  const warnings = h("div");
  const content = h("div");
  const links = h("nav", { "aria-label": "About this run" }, h("ul", null, Object.entries(runParts).map(([name, [title]]) =>
    h("li", null, h("a", { href: runLink(id, name), "aria-current": name === part ? "page" : null }, title)))));
  add(main, h("div", { class: "row apart" }, text("h1", id === "." ? "This folder" : id), status), about, progress, buttons, warnings, links, content);
  const [title, showPart] = runParts[part] || runParts[""];
  if (part) content.append(h("h2", null, title));
  const shown = showPart(id, content);
  let last;
  let told = "";

  async function refresh() {
    const run = await get(runPath(id));
    if (last && last !== run.status) tell(id + ": " + run.status);
    last = run.status;
    showStatus(run, status, progress, about);
    showButtons(run);
    showWarnings(run.warnings || []);
    if (shown.update) await shown.update(run);
  }

  let buttonKey = "";
  function showButtons(run) {
    const key = [isActive(run), run.status, run.request, run.can_resume, run.has_result, run.is_adapter, run.has_audit].join();
    if (key === buttonKey) return;
    buttonKey = key;
    const made = [];
    const ask = (label, request, sentence) => action(label, async () => {
      await post(runPath(id, request));
      tell(sentence);
      await refresh();
    });
    if (run.request) made.push(h("p", { class: "faint" }, run.request === "pause" ? "The run pauses after this step." : "The run ends after this step."));
    if (isActive(run) && !run.request) {
      made.push(ask("Pause", "pause", "The run saves a checkpoint and pauses."), ask("Stop", "stop", "The run ends after this step."));
    }
    if (run.can_resume && run.status !== "complete") made.push(ask("Resume", "resume", "The run goes on from its last checkpoint."));
    if (run.has_result && !isActive(run)) made.push(exportForm(id, run));
    if (run.has_audit) made.push(h("a", { href: auditLink(id) }, "Audit of the rows"));
    buttons.replaceChildren(...made);
  }

  function showWarnings(list) {
    const now = JSON.stringify(list);
    if (now === told) return;
    told = now;
    warnings.replaceChildren(...(list.length ? [h("section", { class: "warnings", "aria-labelledby": "warnings" },
      h("h2", { id: "warnings" }, list.length === 1 ? "Warning" : list.length + " warnings"),
      h("ul", null, list.map((sentence) => text("li", sentence))))] : []));
  }

  const end = poll(refresh);
  return { stop() { end(); if (shown.stop) shown.stop(); } };
}

function exportForm(id, run) {
  const kind = h("select", { "aria-label": "What to export" },
    h("option", { value: "gguf" }, "GGUF file of the model"),
    run.is_adapter && h("option", { value: "merged" }, "Merged model folder"),
    run.is_adapter && h("option", { value: "adapter" }, "GGUF file of the adapter"));
  const type = h("select", { "aria-label": "Type of the weights" },
    h("option", { value: "" }, "as stored"), ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"].map((name) => h("option", { value: name }, name)));
  kind.addEventListener("change", () => { type.hidden = kind.value !== "gguf"; });
  return h("div", { class: "row", role: "group", "aria-label": "Export" }, kind, type, action("Export", async () => {
    await post(runPath(id, "export"), { kind: kind.value, type: kind.value === "gguf" && type.value ? type.value : null });
    location.hash = "#/jobs";
  }));
}

function showProgress(id, content) {
  const log = follow(id);
  const box = h("div", { class: "charts" });
  const empty = h("p", { class: "faint" }, "Nothing has been logged yet.");
  const report = h("div");
  add(content, h("h2", { class: "hidden" }, "Charts"), empty, box, report);
  const charts = runCharts(box);
  let isReported = false;
  return {
    async update(run) {
      if (await log.read()) { empty.hidden = log.entries.length > 0; charts.update(log.entries); }
      if (run.report && !isReported) { isReported = true; report.append(h("h2", null, "Rows"), reportFacts(run.report)); }
    },
    stop: charts.stop,
  };
}

const readable = (key) => key.replace(/_/g, " ");

function reportFacts(report) {
  return facts(Object.entries(report).filter(([, value]) => ["number", "string"].includes(typeof value) && value !== 0)
    .map(([key, value]) => [readable(key), isNumber(value) ? (Number.isInteger(value) ? value : short(value)) : value]));
}

function showAnswers(id, content) {
  const box = h("div");
  add(content, box);
  let shown = "";
  return { async update() {
    const answers = await get(runPath(id, "answers"));
    const now = JSON.stringify(answers);
    if (now === shown) return;
    shown = now;
    if (!Array.isArray(answers) || !answers.length) {
      box.replaceChildren(h("p", { class: "faint" }, "This run asks no questions, or hasn't yet. The key questions of a recipe lists them."));
      return;
    }
    const steps = (answers[0].answers || []).map((answer) => answer.step);
    box.replaceChildren(h("ol", { class: "answers" }, answers.map((entry) => h("li", { class: "card" },
      entry.system && text("p", entry.system, { class: "faint" }), text("h3", entry.question),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers to " + entry.question },
        h("table", null, h("thead", null, h("tr", null, steps.map((step) => h("th", { scope: "col" }, step === 0 ? "before" : "after " + step + (step === 1 ? " step" : " steps"))))),
          h("tbody", null, h("tr", null, (entry.answers || []).map((answer) => text("td", answer.answer))))))))));
  } };
}

function tokenRows(rows) {
  return h("ol", { class: "rows" }, rows.map((row, index) => h("li", { class: "card" },
    h("p", { class: "faint" }, "Row " + (index + 1) + ", " + row.tokens + " tokens"),
    (row.parts || []).map((part) => h("p", { class: "tokens", dir: "auto" }, part.map((piece) => (piece.trained ? h("mark", null, piece.text) : piece.text)))))));
}

function showRows(id, content) {
  const box = h("div");
  add(content, h("p", null, "The highlighted tokens are trained on: the model learns to predict them."), box);
  let isShown = false;
  return { async update() {
    if (isShown) return;
    const rows = await get(runPath(id, "rows"));
    if (!rows.length) { box.replaceChildren(h("p", { class: "faint" }, "The rows aren't prepared yet, or the run wrote none for the board.")); return; }
    isShown = true;
    box.replaceChildren(tokenRows(rows));
  } };
}

/** A plan. Of a method that samples completions, the time that this takes is not known before. */
function planView(plan, samples) {
  const memory = plan.memory || {};
  const parts = ["program", "weights", "adapter", "gradients", "optimizer", "exchange", "activations", "working", "evaluation"];
  return [
    plan.verdict && text("p", plan.verdict, { class: plan.fits ? null : "error" }),
    h("h3", null, "Memory"),
    facts([...parts.map((name) => [name, memory[name] ? bytes(memory[name]) : ""]), ["total", bytes(memory.total)],
      ["available", plan.machine && bytes(plan.machine.reachable)]]),
    h("h3", null, samples ? "Time, without sampling the answers" : "Time"),
    facts([["steps", plan.steps], ["tokens", plan.tokens], ["steps per epoch", plan.steps_per_epoch],
      ["largest batch", plan.largest_batch && plan.largest_batch + " tokens"],
      ["per step", plan.time && duration(plan.time.step_s)], ["all steps", plan.time && duration(plan.time.total_s)]]),
    plan.advice && plan.advice.length > 0 && [h("h3", null, "Advice"), h("ul", null, plan.advice.map((sentence) => text("li", sentence)))],
    plan.alternatives && plan.alternatives.length > 0 && [h("h3", null, "What one change would give"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Changes" }, h("table", null,
        h("thead", null, h("tr", null, ["Change", "Memory", "Per step"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, plan.alternatives.map((one) => h("tr", null, text("td", one.change), h("td", { class: "number" }, bytes(one.total)),
          h("td", { class: "number" }, duration(one.step_s)))))))],
  ];
}

function showPlan(id, content) {
  const box = h("div");
  add(content, box);
  let shown = "";
  return { update(run) {
    const now = JSON.stringify(run.plan || null);
    if (now === shown) return;
    shown = now;
    if (run.plan) add(box, planView(run.plan, run.method === "grpo"));
    else box.replaceChildren(h("p", { class: "faint" }, "There is no plan yet."));
  } };
}

function quoted(word) { return /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replace(/'/g, "'\\''") + "'"; }

function showRecipe(id, content) {
  const box = h("div");
  add(content, box);
  let shown = "";
  return { update(run) {
    const now = JSON.stringify([run.recipe, run.command, run.arguments]);
    if (now === shown) return;
    shown = now;
    box.replaceChildren();
    if (run.command) {
      const line = "cd " + quoted(run.directory || ".") + " && " + ["swiftlet", ...run.command].map(quoted).join(" ");
      add(box, h("h3", null, "The command that does the same"), text("pre", line, { class: "card", tabindex: "0" }));
    }
    if (run.recipe) add(box, h("h3", null, "The recipe"), text("pre", run.recipe, { class: "card", tabindex: "0", id: "recipe" }));
    if (run.arguments) {
      add(box, h("details", null, h("summary", null, "Every setting"), text("pre", JSON.stringify(run.arguments, null, 2), { class: "card", tabindex: "0" })));
    }
    if (!run.command && !run.recipe && !run.arguments) add(box, h("p", { class: "faint" }, "Nothing tells the settings of this run."));
  } };
}

function showPrinted(id, content) {
  const box = text("pre", "", { class: "card", tabindex: "0" });
  add(content, h("p", { class: "faint" }, "What the run has printed, if the board started it."), box);
  return { async update() { setText(box, (await get(runPath(id, "printed"))).text); } };
}

function showChat(id, content) {
  const list = h("ol", { class: "messages", "aria-live": "polite" });
  const input = h("textarea", { rows: 3, dir: "auto", required: true });
  const model = h("select", null, h("option", { value: "tuned" }, "the trained model"), h("option", { value: "base" }, "the base model"));
  const temperature = h("input", { type: "number", min: 0, max: 2, step: 0.1, value: 0 });
  const limit = h("input", { type: "number", min: 1, max: 4096, value: 256 });
  let messages = [];
  let abort;

  function addMessage(role, content) {
    const body = text("div", content);
    list.append(h("li", { class: "card " + role }, h("strong", null, role === "user" ? "You" : "Model"), body));
    return body;
  }

  async function send() {
    const content = input.value.trim();
    if (!content) return;
    problem.textContent = "";
    messages.push({ role: "user", content });
    addMessage("user", content);
    input.value = "";
    const body = addMessage("assistant", "…");
    abort = new AbortController();
    stop.hidden = false;
    let answer = "";
    try {
      const response = await fetchResponse(runPath(id, "chat"), {
        method: "POST", signal: abort.signal, headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ messages, stream: true, adapter: model.value === "tuned", temperature: Number(temperature.value), max_tokens: Number(limit.value) }),
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.replace(/^data: /, "");
          if (data === "[DONE]") continue;
          const json = JSON.parse(data);
          if (json.error) throw new Failure(json.error.message);
          const delta = json.choices && json.choices[0] && json.choices[0].delta;
          if (delta) answer += (delta.reasoning_content || "") + (delta.content || "");
          setText(body, answer);
        }
      }
    } catch (error) { report(error); }
    stop.hidden = true;
    setText(body, answer || "(no answer)");
    if (answer) messages.push({ role: "assistant", content: answer }); else messages.pop();
  }

  const stop = h("button", { type: "button", hidden: true, onclick: () => abort && abort.abort() }, "Stop");
  input.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); } });
  add(content, h("p", { class: "faint" }, "The board opens the model itself; a run in progress becomes slower meanwhile. Enter sends, Shift+Enter starts a line."),
    list, h("form", { class: "form", onsubmit: (event) => { event.preventDefault(); send(); } },
      field("Message", input, null, true), field("Answer with", model), field("Temperature", temperature), field("Most tokens", limit),
      h("div", { class: "row" }, h("button", { class: "main" }, "Send"), stop,
        h("button", { type: "button", onclick: () => { messages = []; list.replaceChildren(); } }, "Start over"))));
  return { stop() { if (abort) abort.abort(); } };
}

// MARK: Comparing

function showCompare(_, query) {
  let ids = query.getAll("run");
  const picker = h("fieldset", null, h("legend", null, "Runs"));
  const box = h("div", { class: "charts" });
  const table = h("div");
  add(main, h("h1", null, "Compare runs"), picker, box, table);
  const charts = ["Loss", "Validation loss", "Learning rate", "Tokens per second"].map((title) => chart(title));
  const keys = ["loss", "eval_loss", "learning_rate", "tokens_per_second"];
  for (const one of charts) { one.figure.hidden = true; box.append(one.figure); }
  const logs = new Map();
  let shown = "";

  async function pick() {
    const runs = await getRuns();
    picker.append(...runs.map((run) => {
      const box = h("input", { type: "checkbox", onchange: () => {
        ids = box.checked ? [...ids, run.id] : ids.filter((id) => id !== run.id);
        history.replaceState(null, "", "#/compare?" + ids.map((id) => "run=" + encodeURIComponent(id)).join("&"));
        refresh().catch(report);
      } });
      box.checked = ids.includes(run.id);
      return h("div", null, h("label", null, box, " ", text("bdi", run.id)));
    }));
    if (!runs.length) picker.append(h("p", { class: "faint" }, "There are no runs in this folder yet."));
  }

  async function refresh() {
    const details = [];
    for (const id of ids) {
      if (!logs.has(id)) logs.set(id, follow(id));
      await logs.get(id).read();
      details.push(await get(runPath(id)));
    }
    charts.forEach((one, index) => one.set(ids.map((id) => ({ label: id, points: points(logs.get(id).entries, keys[index]) }))));
    const now = JSON.stringify(details.map((run) => [run.id, run.status, run.loss, run.eval_loss, run.arguments]));
    if (now === shown) return;
    shown = now;
    table.replaceChildren(...(details.length ? [differences(details)] : []));
  }

  function differences(runs) {
    const value = (run, key) => { const found = (run.arguments || {})[key]; return found === undefined ? "" : typeof found === "string" ? found : JSON.stringify(found); };
    const all = [...new Set(runs.flatMap((run) => Object.keys(run.arguments || {})))];
    const differing = all.filter((key) => new Set(runs.map((run) => value(run, key))).size > 1);
    const rows = [["status", (run) => run.status], ["steps", (run) => (run.step || 0) + " of " + (run.max_steps || "?")], ["loss", (run) => short(run.loss)],
      ["validation loss", (run) => short(run.eval_loss)], ["tokens/s", (run) => short(run.tokens_per_second)], ["peak memory", (run) => bytes(run.peak_memory)],
      ...differing.map((key) => [key, (run) => value(run, key)])];
    return h("section", null, h("h2", null, "What differs"), h("p", { class: "faint" }, runs.length < 2 ? "Choose another run to see how the recipes differ." : differing.length + " of " + all.length + " settings differ."),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, h("table", null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Setting"), runs.map((run) => h("th", { scope: "col" }, text("bdi", run.id))))),
        h("tbody", null, rows.map(([name, cell]) => h("tr", null, h("th", { scope: "row" }, name), runs.map((run) => text("td", cell(run)))))))));
  }

  pick().catch(report);
  const end = poll(refresh);
  return { stop() { end(); for (const one of charts) one.stop(); } };
}

// MARK: Audits

const auditLink = (id) => "#/audit/" + encodeURIComponent(id);

const auditFacts = (audit) => facts([["Training rows", audit.rows], ["Validation rows", audit.validation_rows],
  ["Rows to drop or mend", audit.suspects], ["Kinds of findings", (audit.kinds || []).length], ["Audited", time(audit.updated)]]);

function showAudits() {
  const list = h("ul", { class: "runs" });
  const empty = h("p", { class: "faint" }, "Looking for audits…");
  add(main, h("h1", null, "Audits"), h("p", { class: "faint" }, "What swiftlet audit found in the rows of recipes."), empty, list);
  let shown = "";
  return { stop: poll(async () => {
    const audits = await get("api/audits");
    const now = JSON.stringify(audits);
    if (now === shown) return;
    shown = now;
    empty.hidden = audits.length > 0;
    setText(empty, "There is no audit in this folder yet. To make one of the rows of a recipe with an output_dir here, type: swiftlet audit recipe.yaml");
    list.replaceChildren(...audits.map((audit) => h("li", { class: "card" },
      h("h2", null, h("a", { href: auditLink(audit.id) }, text("bdi", audit.id === "." ? audit.name : audit.id))), auditFacts(audit))));
  }) };
}

function auditFinding(finding, title) {
  const place = (finding.file || "") + (finding.line ? ", line " + finding.line : "");
  const texts = finding.texts || [];
  return h("li", { class: "card" }, h("div", { class: "row apart" }, h("strong", null, title), text("span", place, { class: "faint" })),
    text("p", finding.sentence), finding.evidence && text("p", finding.evidence, { class: "evidence" }),
    texts.length > 0 && h("details", null, h("summary", null, texts.length === 1 ? "The row" : "The first rows"),
      texts.map((one) => h("dl", { class: "texts" },
        one.prompt && [h("dt", null, "Row " + one.row + ", prompt"), text("dd", one.prompt)],
        [h("dt", null, "Row " + one.row + ", answer"), text("dd", one.answer || "(empty)")]))));
}

/** One audit: how often each kind was found, and the findings, all or of one kind. */
function showAudit([id], query) {
  const about = h("div");
  const kinds = h("div");
  const kind = h("select");
  const count = h("p", { class: "faint", role: "status" });
  const list = h("ol", { class: "rows" });
  const more = action("Show more", () => load(list.children.length), { hidden: true });
  add(main, text("h1", "Audit of " + (id === "." ? "this folder" : id)), about, h("h2", null, "Kinds"), kinds, h("h2", null, "Findings"),
    field("Kind of findings", kind), count, list, more);
  const titles = new Map();
  let counts = new Map();
  let request = 0;

  function showSummary(summary) {
    const found = summary.kinds || [];
    about.replaceChildren(auditFacts(summary));
    for (const one of found) titles.set(one.kind, one.title);
    counts = new Map(found.map((one) => [one.kind, one.findings]));
    counts.set("", found.reduce((sum, one) => sum + one.findings, 0));
    kinds.replaceChildren(found.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Kinds" }, h("table", { class: "kinds" },
      h("thead", null, h("tr", null, ["Kind", "Rows", "What to do"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", null, found.map((one) => h("tr", null, h("th", { scope: "row" }, text("bdi", one.title)), h("td", { class: "number" }, one.suspects),
        text("td", one.advice))))))
      : h("p", null, "Nothing was found."));
    const chosen = kind.value || query.get("kind") || "";
    kind.replaceChildren(h("option", { value: "" }, "all (" + counts.get("") + ")"),
      ...found.map((one) => h("option", { value: one.kind }, one.title + " (" + one.findings + ")")));
    kind.value = counts.has(chosen) ? chosen : "";
  }

  /** Shows the findings from a number on. */
  async function load(from, wanted = kind.value) {
    const mine = ++request;
    const page = await get("api/audits/" + encodeURIComponent(id) + "?from=" + from + "&kind=" + encodeURIComponent(wanted));
    if (mine !== request) return;
    if (from === 0) { showSummary(page.summary); list.replaceChildren(); }
    add(list, page.findings.map((finding) => auditFinding(finding, titles.get(finding.kind) || finding.kind)));
    more.hidden = !page.more;
    setText(count, list.children.length + " of " + (counts.get(kind.value) || 0) + " findings are shown.");
  }

  kind.addEventListener("change", () => {
    history.replaceState(null, "", auditLink(id) + (kind.value ? "?kind=" + encodeURIComponent(kind.value) : ""));
    load(0).catch(report);
  });
  load(0, query.get("kind") || "").catch(report);
}

// MARK: Programs

function showJobs() {
  const box = h("div");
  add(main, h("h1", null, "Programs"), h("p", { class: "faint" }, "What this board has started."), box);
  let shown = "";
  let before = new Map();
  return { stop: poll(async () => {
    const jobs = await get("api/jobs");
    for (const job of jobs) if (before.get(job.id) === null && job.status !== null) tell(job.title + (job.status === 0 ? " is done" : " failed"));
    before = new Map(jobs.map((job) => [job.id, job.status]));
    const now = JSON.stringify(jobs);
    if (now === shown) return;
    shown = now;
    if (!jobs.length) { box.replaceChildren(h("p", { class: "faint" }, "Nothing yet.")); return; }
    box.replaceChildren(h("ul", { class: "runs" }, [...jobs].reverse().map((job) => h("li", { class: "card" },
      h("div", { class: "row apart" }, text("h2", job.title),
        h("span", { class: "status " + (job.status === null ? "training" : job.status === 0 ? "complete" : "failed") }, job.status === null ? "running" : job.status === 0 ? "done" : "ended with status " + job.status)),
      text("pre", job.command.map(quoted).join(" ")), job.printed.trim() && h("details", null, h("summary", null, "Output"), text("pre", job.printed, { class: "card", tabindex: "0" }))))));
  }) };
}

// MARK: A new run

const forms = {
  sft: [["chat", "prompt and completion, as a conversation", ["prompt", "completion"]], ["messages", "conversations", ["messages"]], ["text", "plain text", ["text"]]],
  dpo: [["preference", "prompt, chosen and rejected answer", ["prompt", "chosen", "rejected"]]],
  kto: [["rated", "prompt, answer and whether it is good", ["prompt", "completion", "label"]]],
  classify: [["labeled", "text and label", ["text", "label"]]],
  grpo: [["solved", "prompt and solution", ["prompt", "solution"]], ["prompts", "prompts", ["prompt"]]],
};
forms.orpo = forms.cpo = forms.reward = forms.dpo;
/** Names under which columns are often found. */
const aliases = {
  prompt: ["prompt", "question", "instruction", "input", "query", "source"], completion: ["completion", "answer", "output", "response", "target"],
  messages: ["messages", "conversations", "conversation"], text: ["text", "content", "sentence"], chosen: ["chosen"], rejected: ["rejected"], label: ["label", "labels", "class"],
  solution: ["solution", "answer", "completion", "output", "response", "target"],
};

function showNew() {
  const option = (value, label) => h("option", { value }, label || value);
  const name = h("input", { required: true, pattern: "[A-Za-z0-9_][A-Za-z0-9._\\-]*", value: "run-1", autocomplete: "off" });
  const model = h("input", { required: true, list: "models", autocomplete: "off", dir: "auto" });
  const models = h("datalist", { id: "models" });
  const data = h("select", { required: true });
  const file = h("input", { type: "file", accept: ".jsonl,.json,.ndjson,.csv,.tsv,.txt,.parquet" });
  const method = h("select", null, option("sft", "SFT: imitate the answers"), option("dpo", "DPO: prefer one answer"), option("orpo", "ORPO: imitate and prefer"), option("cpo", "CPO: prefer, without reference"),
    option("kto", "KTO: good and bad answers"), option("grpo", "GRPO: sample answers, and reward them"),
    option("reward", "Reward model"), option("classify", "Classifier"));
  const form = h("select");
  const system = h("textarea", { rows: 2, dir: "auto" });
  const columnBox = h("div", { class: "form" });
  const table = h("div");
  const number = (value, attributes) => h("input", { type: "number", value, ...attributes });
  const rank = number(16, { min: 1, max: 1024 });
  const rate = h("input", { value: "2e-4", inputmode: "decimal", required: true });
  const epochs = number(1, { min: 0.01, step: "any" });
  const maxSteps = number("", { min: 1 });
  const batch = number(4, { min: 1 });
  const accumulation = number(1, { min: 1 });
  const length = number(1024, { min: 8 });
  const validation = number(10, { min: 0, max: 90 });
  const accuracy = h("input", { type: "checkbox", checked: true });
  const thinking = h("input", { type: "checkbox" });
  const overlong = h("input", { type: "checkbox" });
  const program = h("select", null, option("", "none"));
  const generations = number(8, { min: 2 });
  const completionLength = number(256, { min: 1 });
  const all = h("input", { type: "checkbox" });
  const four = h("input", { type: "checkbox" });
  const questions = h("textarea", { rows: 3, dir: "auto" });
  const state = h("p", { role: "status" });
  const recipe = text("pre", "", { class: "card", tabindex: "0", role: "region", "aria-label": "Recipe" });
  const command = text("pre", "", { class: "card", tabindex: "0", role: "region", "aria-label": "Command" });
  const plan = h("div", { "aria-live": "polite" });
  let columns = [];
  let mapping = {};

  const currentForm = () => forms[method.value].find((one) => one[0] === form.value) || forms[method.value][0];

  function settings() {
    const value = (input) => (input.value === "" ? null : Number(input.value));
    return {
      name: name.value.trim(), model: model.value.trim(), data: data.value, method: method.value, form: form.value, columns: mapping,
      system: system.value.trim() || null, rank: value(rank), learning_rate: Number(rate.value), epochs: value(epochs), max_steps: value(maxSteps),
      batch_size: value(batch), accumulation: value(accumulation), max_length: value(length), validation_percent: value(validation),
      all_weights: all.checked, four_bit: four.checked, questions: questions.value.split("\n").map((line) => line.trim()).filter(Boolean),
      ...(method.value === "grpo" && {
        rewards: [[accuracy, "accuracy_reward"], [thinking, "think_format_reward"], [overlong, "soft_overlong_punishment"]]
          .filter(([box]) => box.checked && !box.disabled).map(([, reward]) => reward),
        program: program.value || null, generations: value(generations), completion_length: value(completionLength),
      }),
    };
  }

  let timer;
  let request = 0;
  function changed() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (!model.value || !data.value) { state.className = ""; setText(state, "Choose a model and a data file to see the recipe."); return; }
      const mine = ++request;
      try {
        const made = await post("api/recipe", settings());
        if (mine !== request) return;
        setText(recipe, made.recipe);
        setText(command, made.command);
        state.className = "";
        setText(state, "The recipe is valid.");
      } catch (error) {
        if (mine !== request) return;
        state.className = "error";
        setText(state, error.message);
      }
    }, 300);
  }

  const findsSolutions = () => aliases.solution.some((alias) => columns.includes(alias));

  function showForms() {
    const before = form.value;
    form.replaceChildren(...forms[method.value].map(([value, label]) => option(value, label)));
    if (forms[method.value].some((one) => one[0] === before)) form.value = before;
    if (method.value === "grpo" && columns.length && !findsSolutions()) form.value = "prompts";
    showColumns();
  }

  function showColumns() {
    mapping = {};
    system.parentElement.hidden = ["messages", "text", "labeled"].includes(form.value);
    // It compares completions with solutions.
    accuracy.disabled = form.value !== "solved";
    columnBox.replaceChildren(...currentForm()[2].map((target) => {
      const guess = aliases[target].find((alias) => columns.includes(alias)) || columns.find((column) => !Object.values(mapping).includes(column)) || target;
      mapping[target] = guess;
      const choice = h("select", { onchange: () => { mapping[target] = choice.value; changed(); } }, columns.map((column) => option(column)));
      choice.value = guess;
      return field("Column with the " + target, choice);
    }));
    changed();
  }

  async function showTable() {
    table.replaceChildren();
    columns = [];
    if (!data.value) { showColumns(); return; }
    try {
      const found = await get("api/rows?file=" + encodeURIComponent(data.value));
      columns = found.columns;
      if (method.value === "sft") {
        if (found.conversations.length) form.value = "messages";
        else if (aliases.completion.some((alias) => columns.includes(alias))) form.value = "chat";
        else if (columns.length === 1) form.value = "text";
      }
      if (method.value === "grpo") form.value = findsSolutions() ? "solved" : "prompts";
      table.replaceChildren(h("p", { class: "faint" }, found.count + " rows; the first " + found.rows.length + ":"),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "First rows" }, h("table", null,
          h("thead", null, h("tr", null, columns.map((column) => text("th", column, { scope: "col" })))),
          h("tbody", null, found.rows.map((row) => h("tr", null, row.map((cell) => text("td", cell))))))));
    } catch (error) { table.replaceChildren(text("p", error.message, { class: "error" })); }
    showColumns();
  }

  async function showFiles(chosen) {
    const names = await get("api/data");
    data.replaceChildren(option("", names.length ? "Choose a file" : "There is no data file in this folder"), ...names.map((one) => option(one)));
    if (chosen) { data.value = chosen; await showTable(); }
  }

  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (!chosen) return;
    problem.textContent = "";
    try {
      const saved = await (await fetchResponse("api/data?name=" + encodeURIComponent(chosen.name), { method: "POST", body: chosen })).json();
      await showFiles(saved.file);
    } catch (error) { report(error); }
  });
  data.addEventListener("change", showTable);
  method.addEventListener("change", () => {
    const samples = method.value === "grpo";
    rewards.hidden = !samples;
    // Of grpo, batches are counted in completions and hold whole groups.
    setText(batch.previousElementSibling, samples ? "Answers per batch" : "Rows per batch");
    batch.value = samples ? generations.value : 4;
    rate.value = { sft: "2e-4", classify: "1e-4", grpo: "1e-5" }[method.value] || "5e-6";
    showForms();
  });
  generations.addEventListener("change", () => { batch.value = generations.value; });
  form.addEventListener("change", showColumns);

  const planButton = action("Plan memory and time", async () => {
    plan.replaceChildren(h("p", null, "Opening the model and preparing the rows…"));
    try {
      const made = await post("api/plan", settings());
      plan.replaceChildren();
      add(plan, h("h2", null, "Plan"), planView(made, method.value === "grpo"),
        made.warnings && made.warnings.length > 0 && h("section", { class: "warnings" }, h("h2", null, "Warnings"), h("ul", null, made.warnings.map((sentence) => text("li", sentence)))),
        made.rows && made.rows.length > 0 && [h("h3", null, "The first rows, with the trained tokens highlighted"), tokenRows(made.rows)]);
    } catch (error) { plan.replaceChildren(); throw error; }
  });
  const startButton = action("Start the run", async () => {
    if (!page.reportValidity()) return;
    const { id } = await post("api/start", settings());
    location.hash = runLink(id);
  }, { class: "main" });

  const rewards = h("fieldset", { hidden: true }, h("legend", null, "Answers and their rewards"), h("div", { class: "form" },
    h("label", null, accuracy, " 1 for the solution (accuracy_reward)"), h("label", null, thinking, " 1 for thinking first (think_format_reward)"),
    h("label", null, overlong, " Up to -1 for the last fifth of the length (soft_overlong_punishment)"),
    field("Program that gives rewards", program, "an executable file in this folder, which reads JSON lines"),
    field("Answers per prompt", generations), field("Most tokens per answer", completionLength)));
  const page = h("form", { onsubmit: (event) => event.preventDefault(), oninput: changed, onchange: changed },
    h("fieldset", null, h("legend", null, "Model and data"), h("div", { class: "form" },
      field("Name of the run", name, "also its folder"), field("Model", model, "from the list, or org/name"), models,
      field("Data file", data), field("Or add a file", file, "is saved in this folder"), field("Method", method), field("Rows are", form)),
    table, columnBox, field("System message", system, "for every row; may stay empty", true)),
    rewards,
    h("fieldset", null, h("legend", null, "Training"), h("div", { class: "form" },
      field("LoRA rank", rank), field("Learning rate", rate), field("Epochs", epochs), field("Or steps", maxSteps), field("Rows per batch", batch), field("Batches per step", accumulation),
      field("Most tokens per row", length), field("Rows for validation, percent", validation),
      h("label", null, all, " Train every weight instead of an adapter"), h("label", null, four, " Quantize the base model to 4 bits"),
      field("Questions to ask before, during and after training", questions, "one per line", true))));
  add(main, h("h1", null, "New run"), page, state, h("div", { class: "row" }, planButton, startButton), plan,
    h("h2", null, "Recipe"), recipe, h("h2", null, "Command"), command);
  showForms();
  (async () => {
    const [names, programs, runs] = await Promise.all([get("api/models"), get("api/programs"), getRuns(), showFiles()]);
    add(program, programs.map((one) => option(one)));
    models.replaceChildren(...names.map((one) => option(one)));
    if (names.length === 1 && !model.value) model.value = names[0];
    const taken = new Set(runs.map((run) => run.id));
    for (let index = 1; taken.has(name.value); index += 1) name.value = "run-" + (index + 1);
    changed();
  })().catch(report);
  return { stop() { clearTimeout(timer); } };
}

getRuns().catch(() => { /* The view tells of it. */ });
show();
