"use strict";
// Filters, search, sorting and hover of the report. Whatever comes from a table goes through textContent.
(() => {
const { fields, pictures, rows } = JSON.parse(document.getElementById("payload").textContent);
const VERDICTS = { r: ["right", "✓"], n: ["near", "≈"], w: ["wrong", "✗"] };
const FIRST = 12, MORE = 24;
const byId = (id) => document.getElementById(id);
document.documentElement.classList.add("js");
for (const each of document.querySelectorAll(".controls")) each.hidden = false;
for (const image of document.querySelectorAll(".picks img")) pictures[image.dataset.picture] = image.src;

function make(name, parent, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

// A row as a hang tag, the same as the server's.
function card(place) {
  const row = rows[place];
  const article = document.createElement("article");
  article.className = "card";
  article.dataset.place = place;
  const frame = make("div", article, undefined, { class: "picture" });
  const uri = pictures[row.p];
  if (uri) make("img", frame, undefined, { src: uri, alt: row.t.join(", "), "data-picture": row.p });
  else make("span", frame, "no picture");
  make("div", article, undefined, { class: "string", "aria-hidden": "true" });
  const tag = make("div", make("div", article, undefined, { class: "tag-shadow" }), undefined, { class: "tag" });
  const list = make("dl", tag);
  fields.forEach(([name], field) => line(make("div", list), row, name, field));
  if (!row.w) {
    const raw = make("p", tag, undefined, { class: "raw" });
    make("strong", raw, "Unreadable:");
    raw.append(" ");
    if (row.x === null) raw.append("the text never ended");
    else make("bdi", raw, `“${row.x}”`);
  }
  return article;
}

function line(box, row, name, field) {
  const [verdict, mark] = VERDICTS[row.v[field]];
  box.className = verdict;
  make("bdi", make("dt", box), name);
  if (row.w) {
    const written = make("dd", box, undefined, { class: "written" });
    make("bdi", written, row.w[field]);
    written.append(" ");
    make("span", written, mark, { class: "mark", role: "img", "aria-label": verdict });
    if (row.n && row.n[field]) {
      written.append(" ");
      make("span", written, row.n[field], { class: "note" });
    }
  }
  if (verdict !== "right") {
    const truth = make("dd", box, undefined, { class: "true" });
    make("span", truth, "true");
    truth.append(" ");
    make("bdi", truth, row.t[field]);
  }
  if (row.w && row.d && row.d[field]) make("dd", box, row.d[field], { class: row.o[field] ? "doubt outside" : "doubt" });
}

// The gallery: order, filters, search, show more.
const TESTS = {
  all: () => true,
  right: (row) => !/[nw]/.test(row.v),
  wrong: (row, field) => (field === undefined ? row.v.includes("w") : row.v[field] === "w"),
  outside: (row, field) => Boolean(row.o && row.o[field]),
  unreadable: (row) => !row.w,
};
const choices = [...document.querySelectorAll("select.category")].map((select) => {
  const field = fields.findIndex(([name]) => name === select.dataset.field);
  const counts = new Map();
  for (const row of rows) counts.set(row.t[field], (counts.get(row.t[field]) || 0) + 1);
  for (const value of [...counts.keys()].sort()) {
    const option = new Option(`${value} (${counts.get(value)})`, `=${value}`);
    select.append(option);
  }
  return { select, field };
});
const texts = rows.map((row) => [row.f, ...row.t, ...(row.w || []), row.x || ""].join("\n").toLowerCase());
let found = [], shown = 0;

function shuffled(places) {
  let state = 1;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  for (let last = places.length - 1; last > 0; last--) {
    const other = Math.floor(next() * (last + 1));
    [places[last], places[other]] = [places[other], places[last]];
  }
  return places;
}

function choose() {
  const [test, field] = byId("error").value.split(" ");
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const order = document.querySelector("input[name=order]:checked").value;
  const places = [...rows.keys()];
  const ordered = order === "worst" ? places : order === "best" ? places.reverse() : shuffled(places);
  found = ordered.filter(
    (place) =>
      TESTS[test](rows[place], field) &&
      choices.every(({ select, field: of }) => select.value === "all" || `=${rows[place].t[of]}` === select.value) &&
      words.every((word) => texts[place].includes(word)),
  );
  byId("cards").replaceChildren();
  shown = 0;
  showMore(FIRST);
}

function showMore(many) {
  byId("cards").append(...found.slice(shown, shown + many).map(card));
  shown = Math.min(shown + many, found.length);
  const all = found.length === rows.length ? "" : ` (of ${rows.length.toLocaleString("en")})`;
  byId("count").textContent = found.length
    ? `${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")} ${found.length === 1 ? "answer" : "answers"}${all}`
    : "No answer fits these filters.";
  byId("more").hidden = shown === found.length;
}

document.querySelector(".filters").addEventListener("change", choose);
byId("search").addEventListener("input", choose);
byId("more").addEventListener("click", () => {
  const next = shown;
  showMore(MORE);
  const first = byId("cards").children[next];
  first.tabIndex = -1;
  first.focus({ preventScroll: true });
});
choose();

// Tables that sort by a click on a column's head; the row of all others stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numbers = column > 0;
      const before = head.getAttribute("aria-sort");
      const sign = before === (numbers ? "descending" : "ascending") ? !numbers : numbers;
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign ? "descending" : "ascending");
      const value = (row) => (numbers ? row.cells[column].dataset.value : row.cells[0].textContent);
      const compare = (one, other) => (numbers ? one - other : one < other ? -1 : one > other ? 1 : 0);
      const sorted = [...body.rows].sort((one, other) => {
        const rest = one.classList.contains("rest") - other.classList.contains("rest");
        const [left, right] = [value(one), value(other)];
        const empty = (left === undefined) - (right === undefined);
        return rest || empty || (left === undefined ? 0 : (sign ? -1 : 1) * compare(left, right));
      });
      body.append(...sorted);
    });
  });
}

// Scatters: the nearest dot's row under the pointer or the arrow keys; written answers or estimates with intervals.
const hover = byId("hover"), REACH = 24;
let lit = null, last = null; // the dot that is shown, and the one that was last

function hide() {
  hover.hidden = true;
  if (lit) lit.classList.remove("lit");
  lit = null;
}

function show(dot) {
  if (dot === lit) return;
  hide();
  lit = last = dot;
  dot.classList.add("lit");
  hover.replaceChildren(card(Number(dot.dataset.place)));
  hover.hidden = false;
  const at = dot.getBoundingClientRect(), box = hover.getBoundingClientRect();
  const room = document.documentElement.clientWidth - box.width - 8;
  const beside = at.right + 14 <= room + 8 ? at.right + 14 : at.left - box.width - 14;
  const below = Math.min(at.top - box.height / 2, document.documentElement.clientHeight - box.height - 8);
  hover.style.left = `${Math.max(8, Math.min(beside, room))}px`;
  hover.style.top = `${Math.max(8, below)}px`;
}

for (const figure of document.querySelectorAll("figure.dots")) {
  const svg = figure.querySelector("svg");
  const field = fields.findIndex(([name]) => name === figure.dataset.field);
  const dots = [...svg.querySelectorAll("circle[data-place]")];
  const written = dots.map((dot) => [dot.getAttribute("cy"), dot.getAttribute("class")]);
  const across = dots.map((dot) => Number(dot.getAttribute("cx")));
  for (const dot of dots) dot.querySelector("title").remove();

  function nearest(event) {
    const matrix = svg.getScreenCTM();
    const x = (event.clientX - matrix.e) / matrix.a, y = (event.clientY - matrix.f) / matrix.d;
    let best = null, least = (REACH / matrix.a) ** 2;
    dots.forEach((dot, index) => {
      const distance = (across[index] - x) ** 2 + (dot.cy.baseVal.value - y) ** 2;
      if (distance < least) [best, least] = [dot, distance];
    });
    return best;
  }
  const point = (event) => {
    const dot = nearest(event);
    if (dot) show(dot);
    else hide();
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("click", point);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  svg.addEventListener("blur", hide);
  svg.tabIndex = 0;
  const ordered = dots.map((dot, index) => [across[index], dot]).sort((one, other) => one[0] - other[0]);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    const now = ordered.findIndex(([, dot]) => dot === last);
    const next = now < 0 ? (step > 0 ? 0 : ordered.length - 1) : Math.max(0, Math.min(ordered.length - 1, now + step));
    show(ordered[next][1]);
    byId("hover-words").textContent = hover.innerText;
  });
  for (const radio of figure.querySelectorAll("input[type=radio]")) {
    radio.addEventListener("change", () => draw(figure, svg, field, dots, written, radio.value === "estimate"));
  }
}
document.addEventListener("scroll", hide, { passive: true });

function draw(figure, svg, field, dots, written, estimated) {
  hide();
  const { low, high, log, top, bottom } = Object.fromEntries(Object.entries(svg.dataset).map(([key, value]) => [key, Number(value)]));
  const scale = log ? Math.log : (value) => value;
  const place = (value) => {
    const inside = Math.min(Math.max(value, low), high);
    return bottom + ((scale(inside) - scale(low)) / (scale(high) - scale(low))) * (top - bottom);
  };
  const spans = { in: "", out: "" };
  dots.forEach((dot, index) => {
    const row = rows[dot.dataset.place], span = row.s && row.s[field];
    dot.style.display = estimated && !span ? "none" : "";
    dot.setAttribute("cy", estimated && span ? place(span[0]).toFixed(1) : written[index][0]);
    dot.setAttribute("class", estimated && span ? `dot ${row.o[field] ? "far" : "near"}` : written[index][1]);
    if (!estimated || !span || span[1] === null || span[2] === null) return;
    spans[row.o[field] ? "out" : "in"] += `M${dot.getAttribute("cx")} ${place(span[1]).toFixed(1)}V${place(span[2]).toFixed(1)}`;
  });
  svg.classList.toggle("estimated", estimated);
  svg.querySelector(".spans.inside").setAttribute("d", spans.in);
  svg.querySelector(".spans.outside").setAttribute("d", spans.out);
  const label = [...svg.querySelectorAll(".axis")].pop();
  label.textContent = `${estimated ? "estimated" : "written"} ${figure.dataset.field}`;
  figure.querySelector(".of-written").hidden = estimated;
  figure.querySelector(".of-estimate").hidden = !estimated;
}
})();
