"use strict";
// Copying and downloading.
const record = ({ name, answer }) => {
  const { fields, confidence, numbers, raw, error, calibrated } = answer;
  return { name, fields, confidence, numbers, raw, error, calibrated };
};

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Where the page came by plain HTTP from another machine, browsers offer no clipboard.
  const area = make("textarea", document.body, { class: "hidden" }, text);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("no clipboard");
}

function copyButton(item) {
  const made = button(null, "Copy JSON", async () => {
    try {
      await copy(JSON.stringify(record(item), null, 1));
      made.textContent = "Copied";
      say("Copied");
    } catch {
      made.textContent = "Not copied";
      say("The browser did not let it be copied; download the JSON instead");
    }
    setTimeout(() => { made.textContent = "Copy JSON"; }, 2000);
  });
  return made;
}

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", null, { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// A text that a spreadsheet would take for a formula gets an apostrophe.
function cell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table(items) {
  const columns = [["name", (each) => each.name]];
  for (const [name, kind] of settings.fields) {
    columns.push([name, (each) => each.fields?.[name]]);
    if (kind === "number") {
      for (const end of ["estimate", "low", "high"]) columns.push([`${name}_${end}`, (each) => each.numbers?.[name]?.[end]]);
    }
    columns.push([`${name}_confidence`, (each) => each.confidence?.[name]]);
  }
  columns.push(["error", (each) => each.error]);
  const lines = [columns.map(([name]) => cell(name)), ...items.map((each) => columns.map(([, of]) => cell(of(record(each)))))];
  return `\ufeff${lines.map((each) => each.join(",")).join("\r\n")}\r\n`;
}
