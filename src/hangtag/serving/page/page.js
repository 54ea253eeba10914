"use strict";
// Pictures come in by drop, paste, pick or camera; each becomes an item of the list, the newest first.
const items = [];
let last = 0;

function add(files, kind = "pictures") {
  if (!files.length) {
    say(`There were no ${kind} in that.`);
    return;
  }
  const added = [...files].map((file) => {
    last += 1;
    return { number: last, file, name: file.name, url: URL.createObjectURL(file), urls: [], gone: new AbortController() };
  });
  items.unshift(...added);
  byId("tags").prepend(...added.map(frame));
  for (const item of added) {
    button(item.tools, "Remove", () => remove(item), { "aria-label": `Remove ${item.name}`, class: "remove" });
    work(item);
  }
  refresh();
  say(added.length === 1 ? `Reading ${added[0].name}` : `Reading ${added.length} pictures`);
}

async function work(item) {
  item.state = null;
  try {
    item.answer = await ask(item.file, WITH_SIMILAR, item.gone.signal, (state, value) => showWaiting(item, state, value));
    if (item.answer.fields) {
      showTag(item);
      showNeighbours(item);
      offerHeat(item);
      item.tools.querySelector(".remove").before(copyButton(item));
    } else showTrouble(item, problem(item.answer), false);
  } catch (trouble) {
    if (item.gone.signal.aborted) return;
    if (!(trouble instanceof Trouble)) throw trouble;
    item.answer = { fields: null, confidence: null, numbers: null, raw: null, error: trouble.message, calibrated: false };
    showTrouble(item, trouble.message, trouble.again);
  }
  refresh();
}

function problem({ error, raw }) {
  const text = error ?? "there is no tag";
  return `${capital(text)}${/[.!?]$/.test(text) ? "" : "."}${raw ? ` It wrote: “${raw}”` : ""}`;
}

function remove(item) {
  const place = items.indexOf(item);
  item.gone.abort();
  for (const url of [item.url, ...item.urls]) URL.revokeObjectURL(url);
  items.splice(place, 1);
  item.element.remove();
  refresh();
  const next = items[Math.min(place, items.length - 1)];
  (next ? next.tools.querySelector(".remove") : byId("pick")).focus();
  say(`${item.name} removed`);
}

function refresh() {
  const done = items.filter(({ state }) => state === "tag").length;
  byId("made").hidden = !items.length;
  document.body.classList.toggle("busy", items.length > 0);
  byId("count").textContent = done === items.length ? counted(done, "tag") : `${done} of ${counted(items.length, "tag")}`;
  for (const id of ["csv", "json"]) byId(id).disabled = !items.some(({ answer }) => answer);
}

const withFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;
function over(now) {
  depth = now;
  byId("over").hidden = !depth;
}
addEventListener("dragenter", (event) => withFiles(event) && over(depth + 1));
addEventListener("dragleave", (event) => withFiles(event) && over(Math.max(0, depth - 1)));
addEventListener("dragover", (event) => {
  if (!withFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
});
addEventListener("drop", (event) => {
  if (!withFiles(event)) return;
  event.preventDefault();
  over(0);
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  const files = event.clipboardData?.files ?? [];
  if (!files.length && event.target.closest?.("input, textarea")) return;
  add(files);
});
for (const id of ["pick", "photograph"]) {
  byId(id).addEventListener("change", ({ target }) => {
    add(target.files);
    target.value = "";
  });
}
byId("csv").addEventListener("click", () => download("tags.csv", "text/csv", table(items.filter(({ answer }) => answer))));
byId("json").addEventListener("click", () => {
  download("tags.json", "application/json", JSON.stringify(items.filter(({ answer }) => answer).map(record), null, 1));
});
byId("clear").addEventListener("click", () => {
  for (const item of [...items]) remove(item);
  byId("pick").focus();
});
