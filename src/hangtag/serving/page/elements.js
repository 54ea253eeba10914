"use strict";
// Elements, words and figures. Whatever comes from a file or a server goes through textContent.
const settings = JSON.parse(document.getElementById("settings").textContent);
const byId = (id) => document.getElementById(id);
const KINDS = new Map(settings.fields);
const HEADING = settings.fields.find(([, kind]) => kind === "text")?.[0];
const FIGURE = settings.fields.find(([, kind]) => kind === "number")?.[0];
const KIND_OF_PRODUCT = settings.fields.find(([, kind]) => kind === "category")?.[0];

function make(name, parent, attributes = {}, text) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

function draw(name, parent, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function button(parent, text, act, attributes = {}) {
  const made = make("button", parent, { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

// Read out to those who do not see the page; one message after another, or only the last would be heard.
const say = (() => {
  const waiting = [];
  let timer = null;
  const next = () => {
    byId("status").textContent = waiting.shift() ?? "";
    timer = waiting.length ? setTimeout(next, 1200) : null;
  };
  return (text) => {
    waiting.push(text);
    if (timer === null) timer = setTimeout(next, 60);
  };
})();

const words = (name) => name.replaceAll("_", " ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const percent = (share) => (share > 0.995 && share < 1 ? "> 99 %" : `${Math.round(100 * share)} %`);
const megabytes = (bytes) => `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;

function amount(value) {
  if (typeof value !== "number") return String(value);
  const digits = Number.isInteger(value) || Math.abs(value) >= 10000 ? 0 : 2;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// A number that is a guess anyway, to three digits.
const rough = (value) => amount(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
const show = (name, value) => (KINDS.get(name) === "number" ? amount(value) : String(value));

function sureness(confidence) {
  if (confidence >= 0.9) return "very sure";
  if (confidence >= 0.7) return "fairly sure";
  if (confidence >= 0.4) return "not sure";
  return "a guess";
}
