"use strict";
/* The reader's choices -> rows of each figure -> its chart and its table. */
let figures, shapes, columns;
const state = { service: document.body.dataset.service, zone: null };
const PAGE = 100;

/* Data */
async function unpack() {
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (each) => each.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  ({ figures, shapes, columns } = await new Response(plain).json());
  for (const figure of Object.values(figures)) {
    figure.names = Object.keys(figure.columns);
    const series = Object.values(figure.columns).map((given) =>
      given.texts ? given.places.map((place) => given.texts[place]) : given);
    figure.all = Array.from({ length: figure.rows }, (_, row) =>
      Object.fromEntries(figure.names.map((name, place) => [name, series[place][row]])));
    figure.own = {};
  }
}

function chosen(figure) {
  const wanted = figure.filters.map((name) => {
    if (name === "service") return [name, state.service];
    if (name === "zone_id") return [name, state.zone];
    return [name, figure.own[name]];
  });
  return figure.all.filter((row) => wanted.every(([name, value]) => row[name] === value));
}

/* Charts */
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function theme() {
  const text = { labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 11, titleFontSize: 11, titleFontWeight: 500 };
  const ramp = style("--ramp").split(" ");
  return {
    background: null, font: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", aria: false,
    padding: { top: 4, bottom: 8, left: 0, right: 6 }, autosize: { type: "fit-x", contains: "padding" },
    view: { stroke: null },
    axis: { ...text, gridColor: "var(--grid)", domainColor: "var(--line)", tickColor: "var(--line)", labelPadding: 4 },
    axisX: { grid: false }, axisY: { domain: false, ticks: false },
    legend: { ...text, labelFontSize: 12, orient: "top", symbolStrokeWidth: 2.5, symbolOpacity: 1 },
    range: {
      ramp, heatmap: ramp, ordinal: ramp.slice(1, -1), diverging: style("--diverging").split(" "), category: style("--categories").split(" "),
    },
    mark: { color: "var(--series-1)" },
  };
}

async function draw(name) {
  const figure = figures[name];
  const place = document.querySelector(`#${name} .chart`);
  if (!place) return;
  const rows = chosen(figure);
  showNone(name, !rows.length);
  if (!rows.length) {
    figure.view?.finalize();
    figure.view = null;
    place.replaceChildren();
    return;
  }
  const spec = structuredClone(figure.charts[figure.variant]);
  delete spec.$schema;
  delete spec.config;
  if (name === "zones") spec.height = Math.min(640, Math.max(340, place.clientWidth * 0.95));
  spec.datasets = { figure: rows, ...(name === "zones" ? { shapes } : {}) };
  figure.view?.finalize();
  const made = await vegaEmbed(place, spec, { actions: false, renderer: "svg", config: theme(), tooltip: { theme: "custom" } });
  figure.view = made.view;
  place.querySelector("svg").setAttribute("aria-hidden", "true"); /* the table tells it in words */
  if (name === "zones") {
    made.view.addEventListener("click", (event, item) => choose(item?.datum?.zone_id ?? null));
    made.view.signal("chosen", state.zone);
    await made.view.runAsync();
  }
}

function showNone(name, isNone) {
  document.querySelector(`#${name} .none`).hidden = !isNone;
  document.querySelector(`#${name} .chart`).hidden = isNone;
}

async function update(name) {
  const figure = figures[name];
  const rows = chosen(figure);
  if (figure.view && rows.length) await figure.view.data("figure", rows).runAsync();
  else if (figure.variant) await draw(name);
  const table = document.querySelector(`#${name} details.table`);
  if (table?.open) fill(name, table);
  tell(name);
}

/* Which zone a figure is about */
function tell(name) {
  const line = document.querySelector(`#${name} .of`);
  const byZone = figures[name].filters.includes("zone_id");
  if (line && byZone) {
    line.hidden = state.zone === null;
    line.textContent = zoneName();
  }
  for (const finding of document.querySelectorAll(`#${name} .finding`)) {
    finding.classList.toggle("shown", finding.dataset.for === state.service && !(byZone && state.zone !== null));
  }
}
const zoneName = () => (state.zone === null ? "The whole city" : document.querySelector(`#zone option[value="${state.zone}"]`).textContent);

/* What is known of the chosen zone */
function describe() {
  const card = document.getElementById("card");
  if (!card) return;
  const rows = chosen(figures.zones);
  const place = rows.findIndex((row) => row.zone_id === state.zone);
  card.hidden = state.zone === null;
  const known = ["pickups", "dropoffs", "net_flow", "revenue", "mph", "tip_share"];
  card.replaceChildren(...(place < 0 ? [] : [["Zone", zoneName()], ["Borough", rows[place].borough],
    ["Rank by pickups", `${place + 1} of ${rows.length}`],
    ...known.map((name) => [columns[name][0], written(name, rows[place][name])])]
  ).map(([name, text]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: text }))));
}

/* Choices */
async function choose(zone) {
  if (zone !== null && !document.querySelector(`#zone option[value="${zone}"]`)) return;
  state.zone = zone === state.zone ? null : zone;
  document.getElementById("zone").value = state.zone ?? "";
  await apply("zone_id");
}

async function apply(changed) {
  document.getElementById("clear").hidden = state.zone === null;
  for (const tiles of document.querySelectorAll(".tiles")) tiles.classList.toggle("shown", tiles.dataset.for === state.service);
  const touched = Object.keys(figures).filter((name) => figures[name].filters.includes(changed));
  if (changed === "zone_id" && figures.zones?.view) figures.zones.view.signal("chosen", state.zone).run();
  await Promise.all(touched.map(update));
  for (const name of Object.keys(figures)) tell(name);
  describe();
  const service = document.querySelector("input[name=service]:checked + span")?.textContent ?? "";
  document.getElementById("told").textContent = `${service} ${zoneName()}`;
}

/* Tables */
const numbers = (options) => new Intl.NumberFormat("en-US", options);
const percent = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
const dollars = { style: "currency", currency: "USD" };
const formats = {
  count: numbers({}), number: numbers({ minimumFractionDigits: 1, maximumFractionDigits: 1 }),
  dollars: numbers({ ...dollars, maximumFractionDigits: 0 }), cents: numbers(dollars),
  share: numbers(percent), change: numbers({ ...percent, signDisplay: "exceptZero" }),
};

function written(name, value) {
  if (value === null || value === undefined) return "–";
  return formats[columns[name][1]]?.format(value) ?? String(value);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function fill(name, details) {
  const figure = figures[name];
  const fixed = figure.filters.filter((each) => each !== "zone_id");
  const names = figure.names.filter((each) => !fixed.includes(each) || each === "service" || each === "day");
  const view = (details.view ??= { sort: null, down: true, text: "", all: false });
  const every = chosen(figure);
  let rows = every;
  if (view.text) {
    const text = view.text.toLowerCase();
    rows = rows.filter((row) => names.some((each) => written(each, row[each]).toLowerCase().includes(text)));
  }
  if (view.sort) {
    const sign = view.down ? -1 : 1;
    rows = [...rows].sort((a, b) => {
      const [x, y] = [a[view.sort], b[view.sort]];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
  }
  const shown = view.all ? rows : rows.slice(0, PAGE);
  const isNumber = (each) => columns[each][1] in formats;
  const head = element("tr", {}, ...names.map((each) => {
    const cell = element("th", { scope: "col", className: isNumber(each) ? "number" : "" });
    if (view.sort === each) cell.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    const button = element("button", { type: "button", textContent: columns[each][0] });
    button.dataset.column = each;
    button.addEventListener("click", () => {
      view.down = view.sort === each ? !view.down : isNumber(each);
      view.sort = each;
      fill(name, details);
      details.querySelector(`[data-column="${each}"]`).focus();
    });
    cell.append(button);
    return cell;
  }));
  const body = shown.map((row) => element("tr", {}, ...names.map((each, place) => {
    const cell = element(place ? "td" : "th", { textContent: written(each, row[each]), className: isNumber(each) ? "number" : each === "alert" ? "" : "short" });
    if (!place) cell.scope = "row";
    return cell;
  })));
  const title = document.getElementById(`${name}-title`).textContent;
  const caption = element("caption", { textContent: `${title}: ${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` });
  const table = element("table", {}, caption, element("thead", {}, head), element("tbody", {}, ...body));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Table of ${title}`);

  let tools = details.querySelector(".tools");
  if (!tools) {
    tools = element("div", { className: "tools" });
    const search = element("input", { type: "search", placeholder: "Filter rows" });
    search.setAttribute("aria-label", `Filter the rows of ${title}`);
    search.addEventListener("input", () => { view.text = search.value; fill(name, details); });
    const all = element("button", { type: "button", className: "all", textContent: "All rows" });
    all.addEventListener("click", () => { view.all = true; fill(name, details); });
    const save = element("button", { type: "button", textContent: "Save as CSV" });
    save.addEventListener("click", () => saveCsv(name));
    tools.append(search, all, save);
    details.append(tools);
  }
  tools.querySelector("input").hidden = every.length < 12;
  tools.querySelector(".all").hidden = shown.length === rows.length;
  details.querySelector(".scroll")?.remove();
  details.append(scroll);
}

function saveCsv(name) {
  const figure = figures[name];
  const cell = (value) => (value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const lines = [figure.names.join(","), ...chosen(figure).map((row) => figure.names.map((each) => cell(row[each])).join(","))];
  const url = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  element("a", { href: url, download: `${name}.csv` }).click();
  URL.revokeObjectURL(url);
}

/* Beginning */
async function begin() {
  await unpack();
  for (const [name, figure] of Object.entries(figures)) {
    const article = document.getElementById(name);
    figure.variant = Object.keys(figure.charts)[0];
    for (const select of article.querySelectorAll("select[data-filter]")) {
      figure.own[select.dataset.filter] = select.value;
      select.addEventListener("change", () => { figure.own[select.dataset.filter] = select.value; update(name); });
    }
    for (const radio of article.querySelectorAll(`input[name="${name}-chart"]`)) {
      radio.addEventListener("change", () => { figure.variant = radio.value; draw(name); });
    }
    const details = article.querySelector("details.table");
    details?.addEventListener("toggle", () => { if (details.open) fill(name, details); });
    if (details?.open) fill(name, details);
    tell(name);
  }
  for (const radio of document.querySelectorAll("input[name=service]")) {
    radio.addEventListener("change", () => { state.service = radio.value; apply("service"); });
  }
  const zone = document.getElementById("zone");
  zone?.addEventListener("change", () => choose(zone.value ? Number(zone.value) : null));
  document.getElementById("clear")?.addEventListener("click", () => { choose(null); zone.focus(); });
  for (const tiles of document.querySelectorAll(".tiles")) tiles.classList.toggle("shown", tiles.dataset.for === state.service);
  await drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

async function drawAll() {
  for (const [name, figure] of Object.entries(figures)) if (figure.variant) await draw(name);
  document.body.dataset.drawn = "yes";
}

begin();
