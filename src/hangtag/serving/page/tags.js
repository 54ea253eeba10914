"use strict";
// A product's picture with its hang tag, and what of the training products is most like it.

// The parts that stay while the rest is filled in as it comes.
function frame(item) {
  const element = make("li", null, { class: "item" });
  const article = make("article", element, { "aria-labelledby": `name-${item.number}` });
  const left = make("div", article, { class: "left" });
  const picture = make("div", make("div", left, { class: "mount" }), { class: "picture" });
  const image = make("img", picture, { src: item.url, alt: `The picture ${item.name}` });
  image.addEventListener("error", () => {
    image.remove();
    make("span", picture, { class: "none" }, "No picture to show");
  });
  const below = make("div", left, { class: "below" });
  const right = make("div", article, { class: "right" });
  make("div", article, { class: "near" });
  const tools = make("div", article, { class: "tools" });
  make("bdi", make("p", tools, { class: "file" }), {}, item.name);
  Object.assign(item, { element, article, picture, below, right, near: article.querySelector(".near"), tools });
  return element;
}

function paper(item, name) {
  item.right.replaceChildren();
  const hung = make("div", item.right, { class: `hung ${name}` });
  const string = draw("svg", hung, { class: "string", viewBox: "0 0 232 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const d of ["M8 22C70 0 176 12 217 85", "M8 22C100 36 196 40 222 85"]) draw("path", string, { d });
  draw("circle", string, { cx: 8, cy: 22, r: 5 });
  const tag = make("div", make("div", hung, { class: "tag-shadow" }), { class: "tag" });
  make("div", tag, { class: "eyelet", "aria-hidden": "true" });
  return tag;
}

const STATES = {
  waiting: () => "In line",
  sending: (share) => (share > 0 && share < 1 ? `Sending, ${percent(share)}` : "Sending"),
  reading: () => "Looking at the picture",
  busy: (left) => `The server is busy; again in ${left} s`,
};

function showWaiting(item, state, value = 0) {
  if (item.state !== "waiting") {
    item.state = "waiting";
    const tag = paper(item, "blank");
    tag.parentElement.parentElement.setAttribute("aria-busy", "true");
    make("h2", tag, { id: `name-${item.number}`, class: "hidden" }, item.name);
    for (const size of ["short", "long", "figure", "short"]) make("div", tag, { class: `bone ${size}` });
    item.said = make("p", tag, { class: "doing" });
  }
  item.said.textContent = STATES[state](value);
}

function showTrouble(item, message, again) {
  item.state = "trouble";
  const tag = paper(item, "trouble");
  make("h2", tag, { id: `name-${item.number}` }, "No tag");
  make("p", tag, { class: "why" }, message);
  if (again) button(tag, "Try again", () => work(item), { class: "main" });
  say(`${item.name}: no tag. ${message}`);
}

function showTag(item) {
  item.state = "tag";
  const { fields, confidence, numbers } = item.answer;
  const tag = paper(item, "written");
  const used = new Set([HEADING, FIGURE, KIND_OF_PRODUCT]);
  if (KIND_OF_PRODUCT) field(tag, item, KIND_OF_PRODUCT, "p", "kind");
  const heading = HEADING ?? KIND_OF_PRODUCT ?? FIGURE;
  const title = make("h2", tag, { id: `name-${item.number}`, class: HEADING ? "title" : "hidden" });
  make("bdi", title, {}, show(heading, fields[heading]));
  if (HEADING) doubt(tag, confidence?.[HEADING], words(HEADING));
  if (FIGURE) figure(tag, item, fields[FIGURE], numbers?.[FIGURE], confidence?.[FIGURE]);
  const rest = settings.fields.filter(([name]) => !used.has(name));
  if (rest.length) {
    const list = make("dl", tag, { class: "rest" });
    for (const [name] of rest) row(make("div", list), name, fields[name], numbers?.[name], confidence?.[name]);
  }
  if (confidence && !item.answer.calibrated) {
    make("p", tag, { class: "own" }, "How sure it is, is the model's own opinion: it was not checked on other products.");
  }
  say(`${item.name}: ${settings.fields.map(([name]) => `${words(name)} ${show(name, fields[name])}`).join(", ")}`);
}

function field(tag, item, name, element, kind) {
  const line = make(element, tag, { class: kind });
  make("span", line, { class: "hidden" }, `${words(name)}: `);
  make("bdi", line, {}, show(name, item.answer.fields[name]));
  doubt(tag, item.answer.confidence?.[name], words(name));
}

// How sure the model is: five stitches, a word and a number.
function doubt(parent, confidence, name, more = "") {
  if (confidence === undefined || confidence === null) return;
  const line = make("p", parent, { class: `doubt${confidence < 0.4 ? " low" : ""}` });
  const stitches = make("span", line, { class: "stitches", "aria-hidden": "true" });
  for (let each = 0; each < 5; each += 1) make("i", stitches, { class: confidence >= (each + 0.5) / 5 ? "on" : false });
  make("span", line, { class: "hidden" }, `${name}: `);
  make("span", line, {}, `${sureness(confidence)}, ${percent(confidence)}${more}`);
}

function figure(tag, item, value, number, confidence) {
  const box = make("div", tag, { class: "figure" });
  make("p", box, { class: "what" }, words(FIGURE));
  make("p", box, { class: "value" }, amount(value));
  if (number && number.low !== null && number.high !== null) interval(box, value, number);
  doubt(box, confidence, words(FIGURE), ", within 20 %");
}

// The interval as a bar, lowest to highest, with what was written on it.
function interval(box, value, { low, high, estimate }) {
  const place = (each) => (high > low ? Math.min(Math.max((each - low) / (high - low), 0), 1) : 0.5);
  const bar = draw("svg", box, { class: "interval", viewBox: "0 0 220 18", "aria-hidden": "true" });
  draw("path", bar, { class: "span", d: "M10 9H210" });
  draw("path", bar, { class: "end", d: "M10 4V14M210 4V14" });
  draw("circle", bar, { cx: 10 + 200 * place(value), cy: 9, r: 5 });
  const ends = make("p", box, { class: "ends" });
  make("span", ends, { class: "hidden" }, "Nine times in ten between ");
  make("span", ends, {}, rough(low));
  make("span", ends, { class: "hidden" }, " and ");
  make("span", ends, { class: "between", "aria-hidden": "true" }, "9 in 10 lie between");
  make("span", ends, {}, rough(high));
  if (Math.abs(estimate - value) > 0.05 * Math.abs(value)) make("p", box, { class: "best" }, `best estimate ${rough(estimate)}`);
}

function row(box, name, value, number, confidence) {
  make("bdi", make("dt", box), {}, words(name));
  const told = make("dd", box);
  make("bdi", told, {}, show(name, value));
  if (number && number.low !== null && number.high !== null) {
    make("small", told, {}, ` 9 in 10 lie between ${rough(number.low)} and ${rough(number.high)}`);
  }
  doubt(box, confidence, words(name));
}

// They are null while the server, in its first minutes with a run, still makes what finds them: it is asked again.
async function showNeighbours(item) {
  for (let seconds = 2; item.answer.neighbours === null; seconds = Math.min(2 * seconds, 60)) {
    item.near.replaceChildren();
    make("p", item.near, { class: "explained" }, "Similar products will be shown here as soon as the server knows them.");
    try {
      await pause(seconds, item.gone.signal, () => {});
      item.answer.neighbours = (await ask(item.file, WITH_SIMILAR, item.gone.signal, () => {})).neighbours;
    } catch (trouble) {
      if (!(trouble instanceof Trouble)) throw trouble;
      item.answer.neighbours = [];
    }
  }
  item.near.replaceChildren();
  const found = item.answer.neighbours ?? [];
  if (!found.length) return;
  make("h3", item.near, {}, FIGURE ? `Why this ${words(FIGURE)}?` : "Most like it");
  make("p", item.near, { class: "explained" }, "The most similar products that it learned from");
  const list = make("ul", item.near);
  for (const each of found) {
    const one = make("li", list);
    const image = make("img", one, { alt: "", width: 84, height: 84 });
    pictureUrl(each.picture, item.gone.signal).then((url) => {
      item.urls.push(url);
      image.src = url;
    }, () => image.remove());
    const told = make("div", one);
    if (FIGURE) make("p", told, { class: "price" }, amount(each.fields[FIGURE]));
    const name = HEADING ?? KIND_OF_PRODUCT;
    if (name) make("bdi", make("p", told, { class: "name" }), {}, show(name, each.fields[name]));
    make("p", told, { class: "alike" }, `${percent(Math.max(each.similarity, 0))} alike`);
  }
}
