"use strict";
// What a reader does with the page: sort, filter, switch the definition, copy. The numbers are all computed before.
const data = JSON.parse(document.getElementById("data").textContent);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const announce = text => { document.getElementById("shown").textContent = text; };

// ---------------------------------------------------------------- sorting of any table
const sortable = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
const ordered = (rows, column, sign) => [...rows].sort((one, other) => {
  const [a, b] = [sortable(one, column), sortable(other, column)];
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
});
const first_order = header => header.dataset.first ?? "descending";
const mark = (header, order) => {
  for (const one of header.parentElement.cells) {
    if (one.hasAttribute("aria-sort")) one.setAttribute("aria-sort", one === header ? order : "none");
  }
};
for (const button of document.querySelectorAll("table.sortable:not(.board) thead button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), body = header.closest("table").tBodies[0], first = first_order(header);
    const other = first === "descending" ? "ascending" : "descending";
    const order = header.getAttribute("aria-sort") === first ? other : first;
    mark(header, order);
    body.append(...ordered(body.rows, header.cellIndex, order === "ascending" ? 1 : -1));
  });
}

// ---------------------------------------------------------------- the state, which the address keeps
const AXES = { dataset: "data set", architecture: "architecture", family: "family", encoder: "encoder", loss: "loss", status: "status" };
const START = { view: data.chosen, sort: "rank", q: "", hide: [], digits: "3", ...Object.fromEntries(Object.keys(AXES).map(key => [key, []])) };
const state = structuredClone(START);
const views = [
  ...data.views,
  { name: "dice", title: "Dice of each class", classes: true },
  { name: "iou", title: "IoU of each class", classes: true },
];
const view = () => views.find(one => one.name === state.view);
const plain = view => (view.classes ? data.views[0] : view); // whose ranks stand beside the scores of classes

function read() {
  const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const [key, value] of Object.entries(START)) {
    state[key] = Array.isArray(value) ? given.getAll(key) : given.get(key) ?? value;
  }
  if (!view()) state.view = START.view;
  if (!/^[1-6]$/.test(state.digits)) state.digits = START.digits;
}

function write() {
  const kept = new URLSearchParams();
  for (const [key, value] of Object.entries(START)) {
    if (Array.isArray(value)) state[key].forEach(one => kept.append(key, one));
    else if (state[key] !== value) kept.set(key, state[key]);
  }
  const text = kept.toString(), section = location.hash.slice(1).split("?")[0];
  history.replaceState(null, "", `#${section || (text ? "leaderboard" : "")}${text ? `?${text}` : ""}`);
}

const change = values => { Object.assign(state, values); write(); draw(); };

// ---------------------------------------------------------------- numbers
const full_title = metric => (metric.small ? `${metric.title} (${metric.small})` : metric.title);
const shown = value => (value === null || value === undefined ? "n/a" : Number(value).toFixed(Number(state.digits)));

// Pixel accuracy has to be read against the share of the background, which some profiles do not report.
const SHARE = { name: "background_share", title: "background share", small: "", better: null, share: true, definition: "What pixel accuracy would be if every pixel were called background." };
const lacks_share = chosen => ["pixel_acc", "background_share"].map(name => chosen.metrics.some(one => one.name === name)).join() === "true,false";

function columns(chosen, board) {
  if (!chosen.classes) return lacks_share(chosen) ? [...chosen.metrics, SHARE] : chosen.metrics;
  return data.boards[board].classes.map(name => ({
    name, key: `class/${name}`, title: name, small: chosen.name === "dice" ? "Dice" : "IoU", better: "higher", share: true,
    definition: `${chosen.name === "dice" ? "Dice" : "IoU"} of the class ${name} over all test pixels of the data set.`,
  }));
}

function header(column, primary) {
  const button = make("button", { type: "button" }, column.title, make("small", { textContent: column.small }));
  const cell = make("th", { scope: "col", className: `metric${primary ? "" : " right"}` }, button);
  cell.dataset.key = column.key ?? column.name; // a class may be called rank or cells
  cell.dataset.tip = `${column.name}: ${column.definition}`;
  cell.dataset.first = column.better === "lower" ? "ascending" : "descending";
  cell.setAttribute("aria-sort", "none");
  return cell;
}

function number(value, best) {
  const cell = make("td", { className: `metric number${best ? " best" : ""}${value === null ? " muted" : ""}` }, shown(value));
  cell.dataset.sort = value ?? "";
  return cell;
}

function primary(value, interval, spread, column, best) {
  const cell = make("td", { className: "metric primary" });
  cell.dataset.sort = value ?? "";
  if (value === null) return cell.append(make("span", { className: "muted", textContent: "n/a" })), cell;
  const text = make("span", {}, make("span", { className: best ? "best" : "", textContent: shown(value) }));
  if (spread !== null) text.append(make("span", { className: "muted", textContent: ` ± ${shown(spread)}` }));
  if (interval) text.append(make("small", { textContent: `${shown(interval[0])} to ${shown(interval[1])}` }));
  const box = make("div", {}, text);
  if (column.share) {
    const bar = make("span", { className: "bar" });
    bar.style.setProperty("--value", value);
    if (interval) {
      bar.append(make("i"));
      bar.style.setProperty("--low", interval[0]);
      bar.style.setProperty("--high", interval[1]);
    }
    box.append(bar);
  }
  cell.append(box);
  return cell;
}

// The best number of each column among the networks, as it is shown.
function best(rows, table, at) {
  const numbers = rows.filter(row => !row.classList.contains("baseline")).map(row => table[row.dataset.at][at]).filter(one => one !== null);
  return better => (numbers.length && better ? shown(better === "lower" ? Math.min(...numbers) : Math.max(...numbers)) : null);
}

// What Python wrote is kept, and shown again where it was not switched: it also has the intervals of the other columns.
function written(table, lines) {
  table.written ??= lines.map(line => [...line.querySelectorAll(".metric")]);
  return view() === data.views[0] && state.digits === START.digits ? table.written : null;
}

function switch_view(table) {
  const board = Number(table.dataset.board), chosen = view(), scores = plain(chosen).boards[board];
  const wanted = columns(chosen, board), rows = [...table.tBodies[0].rows];
  const numbers = chosen.classes ? data.boards[board][chosen.name]
    : scores.values.map((values, at) => (lacks_share(chosen) ? [...values, data.boards[board].background[at]] : values));
  const old = [...table.querySelectorAll(".metric")], lines = [table.tHead.rows[0], ...[...rows].sort((one, other) => one.dataset.at - other.dataset.at)];
  const kept = written(table, lines);
  const tops = wanted.map((column, at) => best(rows, numbers, at)(column.better));
  const leading = column => !chosen.classes && column.name === chosen.primary;
  table.tHead.rows[0].querySelector("[data-key=loss]").after(...(kept?.[0] ?? wanted.map(column => header(column, leading(column)))));
  for (const row of rows) {
    const at = Number(row.dataset.at), network = !row.classList.contains("baseline");
    const rank = row.querySelector(".rank");
    rank.textContent = scores.rank[at];
    rank.dataset.sort = scores.place[at] ?? "";
    row.classList.toggle("shared", scores.rank[at].endsWith("="));
    row.querySelector(".of-loss").after(...(kept?.[at + 1] ?? wanted.map((column, index) => {
      const value = numbers[at][index], top = network && value !== null && shown(value) === tops[index];
      return leading(column) ? primary(value, scores.interval[at], scores.spread[at], column, top) : number(value, top);
    })));
  }
  for (const one of old) if (!kept?.some(line => line.includes(one))) one.remove();
}

// ---------------------------------------------------------------- rows
const matches = (row, words) => words.every(word => row.dataset.text.includes(word))
  && Object.keys(AXES).every(key => !state[key].length || state[key].some(one => row.dataset[key].split("|").includes(one)));

function arrange(table) {
  const key = state.sort.replace(/^-/, ""), cells = [...table.tHead.rows[0].cells];
  const found = cells.find(one => one.dataset.key === key), head = found ?? cells.find(one => one.dataset.key === "rank");
  const order = found ? (state.sort.startsWith("-") ? "descending" : "ascending") : "ascending";
  mark(head, order);
  const body = table.tBodies[0], at = plain(view()).boards[Number(table.dataset.board)];
  const main = plain(view()).metrics.findIndex(one => one.name === plain(view()).primary);
  const placed = [...body.rows].sort((one, other) => (at.values[other.dataset.at][main] ?? -Infinity) - (at.values[one.dataset.at][main] ?? -Infinity));
  body.append(...ordered(placed, head.cellIndex, order === "ascending" ? 1 : -1));
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  let before = null;
  for (const row of body.rows) {
    row.hidden = !matches(row, words);
    if (row.hidden) continue;
    const rank = row.querySelector(".rank").textContent;
    row.classList.toggle("follows", head.dataset.key === "rank" && rank.endsWith("=") && rank === before);
    before = rank;
  }
  for (const line of [table.tHead.rows[0], ...body.rows]) {
    cells.concat([...table.tHead.rows[0].cells]).forEach(one => { line.cells[one.cellIndex].hidden = state.hide.includes(one.dataset.key); });
  }
}

function draw() {
  document.documentElement.style.setProperty("--numbers", `${6.6 + Math.max(0, state.digits - 3) * 1.1}rem`); // so that bars line up
  let count = 0, of = 0;
  for (const table of document.querySelectorAll("table.board")) {
    const wanted = `${state.view} ${state.digits}`;
    if ((table.dataset.shows ?? `${START.view} ${START.digits}`) !== wanted) switch_view(table);
    table.dataset.shows = wanted;
    arrange(table);
    const rows = [...table.tBodies[0].rows], seen = rows.filter(row => !row.hidden).length;
    [count, of] = [count + seen, of + rows.length];
    table.closest("section").hidden = state.dataset.length > 0 && !seen;
  }
  draw_overall();
  for (const control of document.querySelectorAll("[data-control]")) control.refresh();
  const chosen = view(), note = document.getElementById("definition");
  note.hidden = chosen === data.views[0];
  note.textContent = chosen.classes ? `Scores of the single classes; ranks as under ${data.views[0].title}.`
    : `Shown by another definition: ${chosen.title} (${chosen.id}). ${chosen.users} The sentences and figures of this page keep to ${data.views[0].title}.`;
  const asked = Object.entries(AXES).filter(([key]) => state[key].length).map(([key, title]) => `${title}: ${state[key].join(" or ")}`);
  if (state.q.trim()) asked.push(`search: ${state.q.trim()}`);
  announce([count === of ? `${of} rows` : `${count} of ${of} rows`, ...asked].join(" · "));
}

// ---------------------------------------------------------------- the ranking over all data sets
function draw_overall() {
  const table = document.querySelector("table.overall");
  if (!table) return;
  const chosen = plain(view()), main = chosen.metrics.findIndex(one => one.name === chosen.primary);
  const means = new Map(chosen.across.ranks.map(([architecture, loss, mean]) => [`${architecture}\n${loss}`, mean]));
  const top = Math.min(...means.values()), close = [...means.values()].filter(mean => mean - top <= chosen.across.critical).length;
  const own = chosen === data.views[0], said = document.getElementById("overall-said");
  said.written ??= said.textContent;
  const apart = chosen.across.critical === null ? "" : ` Mean ranks that differ by less than ${chosen.across.critical.toFixed(2)} are not told apart (Nemenyi).`;
  said.textContent = own ? said.written
    : `${full_title(chosen.metrics[main])} on each data set with the rank there. The mark on the left: rows that cannot be told from the first over all data sets.${apart}`;
  for (const row of table.tBodies[0].rows) {
    const mean = means.get(`${row.dataset.name}\n${row.dataset.of}`) ?? null;
    row.written ??= [...row.cells[0].childNodes]; // it also has the interval
    row.cells[0].replaceChildren(...(own ? row.written : [mean === null ? "n/a" : mean.toFixed(2)]));
    row.cells[0].dataset.sort = mean ?? "";
    row.classList.toggle("shared", close > 1 && mean !== null && mean - top <= chosen.across.critical);
    [...row.cells].slice(2).forEach((cell, board) => {
      const at = cell.dataset.at;
      if (at === undefined) return; // it was not run there
      const value = chosen.boards[board].values[at][main];
      cell.replaceChildren(shown(value), make("small", { textContent: value === null ? "" : `rank ${chosen.boards[board].rank[at]}` }));
    });
  }
  table.tBodies[0].append(...ordered(table.tBodies[0].rows, 0, 1));
  [...table.tBodies[0].rows].forEach((row, at) => row.toggleAttribute("data-more", at >= TOP));
}

const TOP = [...document.querySelectorAll("table.overall tbody tr")].filter(row => !row.hasAttribute("data-more")).length;
const more = document.getElementById("more");
if (more) {
  more.addEventListener("click", () => {
    document.querySelector("table.overall").classList.add("all");
    more.closest("div").querySelector("summary")?.focus();
    more.remove();
  });
}

// ---------------------------------------------------------------- controls
const differs = key => JSON.stringify(state[key]) !== JSON.stringify(START[key]);

// A list that opens below its name, and is moved back where it would leave the screen.
function drop(title, list) {
  const box = make("details", { className: "menu" }, make("summary", { textContent: title }), list);
  box.addEventListener("toggle", () => {
    list.style.left = "0";
    const over = list.getBoundingClientRect().right + 8 - document.documentElement.clientWidth;
    if (box.open && over > 0) list.style.left = `${-over}px`;
  });
  return box;
}

function menu(title, key, options) {
  const list = make("div", { className: "choices" }), box = drop(title, list);
  for (const [value, text] of options) {
    const tick = make("input", { type: "checkbox", value });
    tick.addEventListener("change", () => {
      change({ [key]: [...list.querySelectorAll("input:checked")].map(one => one.value) });
    });
    list.append(make("label", {}, tick, make("span", { textContent: text })));
  }
  box.dataset.control = key;
  box.refresh = () => {
    for (const tick of list.querySelectorAll("input")) tick.checked = state[key].includes(tick.value);
    box.firstChild.textContent = state[key].length ? `${title} (${state[key].length})` : title;
    box.classList.toggle("on", differs(key));
  };
  return box;
}

function choice(title, key, groups) {
  const select = make("select", { title, ariaLabel: title });
  for (const [group, options] of groups) {
    const inside = options.map(([value, text]) => make("option", { value, textContent: text }));
    select.append(...(group ? [make("optgroup", { label: group }, ...inside)] : inside));
  }
  select.addEventListener("change", () => change({ [key]: select.value }));
  select.dataset.control = key;
  select.refresh = () => { select.value = state[key]; select.classList.toggle("on", differs(key)); };
  return select;
}

// `tables` gives the tables to copy, as they are when the button is used; whether each is that of a data set.
function copies(tables, datasets = false) {
  const list = make("div", { className: "choices" }), box = drop("Copy as", list);
  for (const kind of Object.keys(COPIES)) {
    const button = make("button", { type: "button", textContent: kind, ariaLabel: `Copy ${kind}` });
    button.addEventListener("click", () => {
      box.open = false;
      box.firstChild.focus(); // where the dialog returns to
      copy(kind, datasets && kind === "CSV" ? tables().map(([title, rows]) => [title, named(title, rows)]) : tables());
    });
    list.append(button);
  }
  return box;
}

function controls() {
  const place = document.getElementById("controls"), rows = [...document.querySelectorAll("table.board tbody tr")];
  const search = make("input", { type: "search", placeholder: "Search: unet dice", ariaLabel: "Search" });
  search.addEventListener("input", () => change({ q: search.value }));
  search.dataset.control = "q";
  search.refresh = () => { if (search.value !== state.q) search.value = state.q; search.classList.toggle("on", differs("q")); };
  place.append(
    choice("Definition", "view", [
      ["Metric profiles", data.views.map(one => [one.name, one.title])],
      ["Single classes", views.filter(one => one.classes).map(one => [one.name, one.title])],
    ]),
    search,
  );
  for (const [key, title] of Object.entries(AXES)) {
    const values = [...new Set(rows.flatMap(row => row.dataset[key].split("|")).filter(Boolean))].sort();
    if (values.length > 1) place.append(menu(title, key, values.map(one => [one, one])));
  }
  const fixed = [...document.querySelectorAll("table.board thead")].slice(0, 1).flatMap(head => [...head.rows[0].cells]);
  const hideable = fixed.filter(one => !one.classList.contains("metric") && !["rank", "architecture"].includes(one.dataset.key));
  const reset = make("button", { type: "button", textContent: "Reset" });
  reset.addEventListener("click", () => { change(structuredClone(START)); search.focus(); });
  reset.dataset.control = "reset";
  reset.refresh = () => { reset.disabled = !Object.keys(START).some(differs); };
  place.append(
    menu("hide columns", "hide", [...hideable.map(one => [one.dataset.key, one.textContent.trim()]),
      ...data.views[0].metrics.filter(one => one.name !== data.views[0].primary).map(one => [one.name, full_title(one)])]),
    choice("Decimals", "digits", [["", ["1", "2", "3", "4", "5", "6"].map(one => [one, `${one} decimal${one === "1" ? "" : "s"}`])]]),
    copies(() => [...document.querySelectorAll("table.board")].filter(table => !table.closest("section").hidden)
      .map(table => [data.boards[table.dataset.board].title, seen(table)]), true),
    reset,
  );
  document.getElementById("overall")?.append(copies(() => [["Mean ranks over the data sets", seen(document.querySelector("table.overall"))]]));
}

// ---------------------------------------------------------------- definitions on hover and focus
const tip = document.getElementById("tip");
function explain(target) {
  const cell = target.closest?.("table.board th, table.board td.metric");
  const head = cell?.closest("table").tHead.rows[0].cells[cell.cellIndex];
  if (!head?.dataset.tip) return hush();
  const place = cell.getBoundingClientRect();
  tip.textContent = head.dataset.tip;
  tip.hidden = false;
  const above = place.top - tip.offsetHeight - 6;
  tip.style.left = `${scrollX + Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${scrollY + (above > 0 ? above : place.bottom + 6)}px`;
  cell.querySelector("button")?.setAttribute("aria-describedby", "tip");
}
const hush = () => { tip.hidden = true; };
for (const head of document.querySelectorAll("table.board thead th")) {
  const button = head.querySelector("button");
  if (button.title) { head.dataset.tip = button.title; button.removeAttribute("title"); }
}
document.addEventListener("mouseover", event => explain(event.target));
const shut = target => {
  for (const one of document.querySelectorAll("details.menu[open]")) if (!one.contains(target)) one.open = false;
};
document.addEventListener("focusin", event => { explain(event.target); shut(event.target); });
document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  hush();
  document.activeElement.closest("details.menu[open]")?.firstChild.focus();
  shut(null);
});
document.addEventListener("click", event => {
  shut(event.target);
  const button = event.target.closest("table.board thead button");
  if (!button) return;
  const head = button.closest("th"), first = first_order(head), now = head.getAttribute("aria-sort");
  const order = now === first ? (first === "descending" ? "ascending" : "descending") : first;
  change({ sort: (order === "descending" ? "-" : "") + head.dataset.key });
});
document.querySelector("#copied button").addEventListener("click", () => document.getElementById("copied").close());
addEventListener("hashchange", () => { read(); draw(); });

// On paper nothing can be opened: what matters is open there, and everything else that is closed is left out.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details[data-print]:not([open])")];
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => { for (const one of opened) one.open = false; });

// The keyboard stops only where there is something to scroll.
const regions = [...document.querySelectorAll(".scroll[tabindex]")];
const stops = () => {
  const wide = regions.map(one => one.scrollWidth > one.clientWidth);
  regions.forEach((one, at) => { if (wide[at]) one.tabIndex = 0; else one.removeAttribute("tabindex"); });
};
addEventListener("load", stops);
addEventListener("resize", stops);

document.documentElement.classList.add("js");
read();
controls();
draw();
const again = performance.getEntriesByType("navigation")[0]?.type === "reload"; // which keeps the place by itself
if (location.hash.includes("?") && !again) document.getElementById(location.hash.slice(1).split("?")[0])?.scrollIntoView();

// A page of a study that still runs looks for a newer one by itself, but not while something is open. A refresh by the
// document would forget what the address keeps.
const refresh = Number(document.documentElement.dataset.refresh);
if (refresh) setInterval(() => { if (!document.querySelector("dialog[open], details.menu[open]")) location.reload(); }, 1000 * refresh);
