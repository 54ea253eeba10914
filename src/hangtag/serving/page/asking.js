"use strict";
// Asking the server: one picture a request, a few at once, again where it is busy, with a token where it wants one.
const AT_ONCE = 4, MOST_TRIES = 8, LONGEST_WAIT = 60;
const WITH_SIMILAR = { neighbours: 3 };

const NO_TOKEN = "This server answers only those who have its token.";

// A request that was given up, or a problem in words; `again` says whether asking once more may help.
class Trouble extends Error {
  constructor(message, again = true) {
    super(message);
    this.again = again;
  }
}

const access = {
  token: null,
  asked: null,
  // Opens the dialog, once for all who wait for a token; resolves to whether there is one now.
  ask() {
    this.asked ??= new Promise((resolve) => {
      const dialog = byId("token"), field = byId("token-field");
      byId("token-why").textContent = this.token === null
        ? "Whoever started it has it. It is kept until this page is closed."
        : "That was not the right one. Whoever started the server has it.";
      field.value = "";
      const done = (given) => {
        if (given !== null) this.token = given;
        this.asked = null;
        dialog.close();
        resolve(given !== null);
      };
      dialog.querySelector("form").onsubmit = (event) => {
        event.preventDefault();
        if (field.value.trim()) done(field.value.trim());
      };
      byId("token-no").onclick = () => done(null);
      dialog.oncancel = (event) => {
        event.preventDefault();
        done(null);
      };
      dialog.showModal();
    });
    return this.asked;
  },
};

const line = {
  running: 0,
  waiting: [],
  async turn() {
    if (this.running < AT_ONCE) this.running += 1;
    else await new Promise((resolve) => this.waiting.push(resolve));
  },
  done() {
    const next = this.waiting.shift();
    if (next) next();
    else this.running -= 1;
  },
};

// One request. Resolves to {status, body, wait}; status 0 where there is no answer at all.
function post(file, options, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(), form = new FormData();
    form.append("files", file, file.name);
    request.open("POST", `v1/predict?${new URLSearchParams(options)}`);
    if (access.token !== null) request.setRequestHeader("Authorization", `Bearer ${access.token}`);
    request.upload.onprogress = (event) => progress("sending", event.lengthComputable ? event.loaded / event.total : 0);
    request.upload.onload = () => progress("reading", 0);
    request.onerror = () => resolve({ status: 0 });
    request.onabort = () => reject(new Trouble("given up"));
    request.onload = () => {
      let body = null;
      try { body = JSON.parse(request.responseText); } catch { /* told by its status */ }
      resolve({ status: request.status, body, wait: Number(request.getResponseHeader("Retry-After")) || 1 });
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

async function pause(seconds, signal, progress) {
  for (let left = Math.ceil(seconds); left > 0 && !signal.aborted; left -= 1) {
    progress("busy", left);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
    });
  }
  if (signal.aborted) throw new Trouble("given up");
}

async function readable(file) {
  if (settings.mostBytes && file.size > settings.mostBytes) {
    throw new Trouble(`It has ${megabytes(file.size)}, and this server takes at most ${megabytes(settings.mostBytes)}. `
      + "Save it smaller.", false);
  }
  if (!file.size) throw new Trouble("There is nothing in it.", false);
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Trouble("It cannot be read. If it is a folder, drop the pictures in it.", false);
  }
}

// The server's tag for a picture. Raises Trouble, in words for people.
async function ask(file, options, signal, progress) {
  await readable(file);
  progress("waiting", 0);
  await line.turn();
  try {
    for (let tries = 1; ; tries += 1) {
      if (signal.aborted) throw new Trouble("given up");
      if (settings.token && access.token === null && !await access.ask()) throw new Trouble(NO_TOKEN);
      progress("sending", 0);
      const shown = access.token;
      const { status, body, wait } = await post(file, options, signal, progress);
      const tag = body?.tags?.[0];
      if (tag && (status === 200 || status === 422)) return tag;
      const said = body?.error?.message;
      if (status === 401) {
        if (access.token !== shown || await access.ask()) continue;
        throw new Trouble(NO_TOKEN);
      }
      if ((status === 503 || status === 429) && tries < MOST_TRIES) {
        await pause(Math.min(wait, LONGEST_WAIT), signal, progress);
        continue;
      }
      throw new Trouble(reason(status, said, file), ![400, 413, 415, 422].includes(status));
    }
  } finally {
    line.done();
  }
}

function reason(status, said, file) {
  if (status === 0) return "The server cannot be reached. Is it still running?";
  if (status === 413) return `It has ${megabytes(file.size)}, which is more than this server takes. Save it smaller.`;
  if (status === 503 || status === 429) return "The server has been busy for a while. Try again later.";
  if (status === 504 || status === 408) return "It took too long.";
  return said ? `${capital(said)}${/[.!?]$/.test(said) ? "" : "."}` : `The server answered with an error (${status}).`;
}

// A picture of the server's as an object URL: an image element could not show the token.
async function pictureUrl(path, signal) {
  const headers = access.token === null ? {} : { Authorization: `Bearer ${access.token}` };
  const answer = await fetch(path.replace(/^\//, ""), { headers, signal });
  if (!answer.ok) throw new Trouble("no picture");
  return URL.createObjectURL(await answer.blob());
}
