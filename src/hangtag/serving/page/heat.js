"use strict";
// Where in the picture each field came from, asked for when it is first switched on.
const ALL = "all", WEAK = 0.25;

function offerHeat(item) {
  item.below.replaceChildren();
  const names = settings.fields.map(([name]) => name);
  const set = make("fieldset", item.below, { class: "heat" });
  make("legend", set, {}, "Where in the picture?");
  const choices = [["", "off"], ...names.map((name) => [name, words(name)]), ...(names.length > 1 ? [[ALL, "all"]] : [])];
  for (const [value, text] of choices) {
    const label = make("label", set);
    const radio = make("input", label, { type: "radio", name: `heat-${item.number}`, value, checked: value === "" });
    radio.addEventListener("change", () => switchHeat(item, value));
    make("span", label, {}, text);
  }
  item.told = make("p", item.below, { class: "told", "aria-live": "polite" });
}

async function switchHeat(item, name) {
  item.wanted = name;
  if (!name) return showHeat(item, name);
  if (!item.heat) {
    item.told.textContent = "Hiding parts of the picture, to see what each is worth…";
    item.picture.classList.add("looking");
    item.asking ??= ask(item.file, { heat: true }, item.gone.signal, () => {}).finally(() => { item.asking = null; });
    try {
      item.heat = (await item.asking).heat;
    } catch (trouble) {
      item.told.textContent = trouble.message;
      return;
    } finally {
      item.picture.classList.remove("looking");
    }
  }
  if (item.wanted === name) showHeat(item, name);
}

function showHeat(item, name) {
  item.picture.querySelector("canvas")?.remove();
  const map = name ? item.heat?.fields[name] : null;
  item.picture.classList.toggle("hot", Boolean(map));
  if (!name) item.told.textContent = "";
  else if (!map) item.told.textContent = "This server does not tell.";
  else {
    item.picture.append(canvas(map));
    item.told.textContent = summary(map, name);
  }
}

// A pixel a cell; the browser smooths it over the picture.
function canvas(map) {
  const made = make("canvas", null, { width: map[0].length, height: map.length, "aria-hidden": "true" });
  const context = made.getContext("2d"), image = context.createImageData(made.width, made.height);
  map.flat().forEach((heat, cell) => image.data.set(colour(heat), 4 * cell));
  context.putImageData(image, 0, 0);
  return made;
}

// From nothing over amber to vermilion.
function colour(heat) {
  const mix = (low, high) => Math.round(low + (high - low) * heat);
  return [mix(255, 206), mix(196, 38), mix(64, 16), Math.round(225 * Math.min(1, heat * 1.15) ** 0.8)];
}

function summary(map, name) {
  const cells = map.flatMap((row, y) => row.map((heat, x) => ({ heat, x: (x + 0.5) / row.length, y: (y + 0.5) / map.length })));
  const most = Math.max(...cells.map(({ heat }) => heat)), what = name === ALL ? "the tag" : `the ${words(name)}`;
  if (most < WEAK) return `No single place decides ${what}.`;
  const hot = cells.filter(({ heat }) => heat >= 0.6 * most);
  const middle = (axis) => hot.reduce((sum, each) => sum + each.heat * each[axis], 0) / hot.reduce((sum, { heat }) => sum + heat, 0);
  const third = (share, names) => names[share < 1 / 3 ? 0 : share > 2 / 3 ? 2 : 1];
  const place = [third(middle("y"), ["top", "", "bottom"]), third(middle("x"), ["left", "", "right"])].filter(Boolean).join(" ");
  return `${capital(what)} depends most on the ${place || "middle"} of the picture.`;
}
