// The page: a list of images, one of them in view, the options, and what becomes of them.

import { Chooser } from "./chooser.js";
import { Diagnosis } from "./diagnosis.js";
import { make, Options } from "./options.js";
import { ask, askPixels, download, enter, follow } from "./server.js";
import { Uploads } from "./uploads.js";
import { contrastOf, Viewer } from "./viewer.js";

const PAUSE = 250; // milliseconds without a change, after which a preview is asked for
const AXES = { Z: "Plane (Z)", T: "Time", C: "Channel" };
const MEANINGS = {
  ZYX: "planes of one stack",
  TYX: "time points",
  CYX: "channels",
  TZYX: "time points, then planes",
  CZYX: "channels, then planes",
  TCYX: "time points, then channels",
  TCZYX: "time points, channels, planes",
};
const STATES = {
  asks: "has a question",
  ready: "",
  waiting: "waits",
  restoring: "is restored",
  done: "restored",
  stopped: "stopped",
  failed: "failed",
};

const byId = (name) => document.getElementById(name);
const state = { images: [], sending: [], root: null };
let selected = null; // identity of the image in view
let awaited = null; // of one that was opened just now, and is to come into view once it is listed
let shown = ""; // what the viewer shows of it
let key = ""; // of the options that are chosen
let toml = "";
let place = {}; // of the plane in view, by axis
let range = { least: 0, most: 1 };
let begun = new Map(); // when each restoration began
let previewing = null;
let previewPause, commandPause;

// messages

function notice(line, kind = "error") {
  const close = make("button", { type: "button", class: "quiet", "aria-label": "Close" }, "×");
  const box = make("div", { class: `notice ${kind}` }, make("span", {}, line), close);
  close.addEventListener("click", () => box.remove());
  byId("notices").append(box);
  if (kind === "error") box.scrollIntoView({ block: "nearest" });
}

const failed = (error) => notice(error.message);

async function tried(work) {
  try {
    return await work();
  } catch (error) {
    failed(error);
    return undefined;
  }
}

// the list

const image = () => state.images.find((one) => one.id === selected);
const isBusy = (one) => one.state === "waiting" || one.state === "restoring";

function sizeOf(one) {
  const lengths = [...one.axes].map((letter, k) => [letter, one.shape[k]]);
  const plane = ["X", "Y"].map((letter) => lengths.find(([name]) => name === letter)[1]);
  const rest = lengths.filter(([letter, n]) => !"YX".includes(letter) && n > 1);
  return [plane.join(" × "), ...rest.map(([letter, n]) => `${letter} ${n}`)].join(" · ");
}

const rows = new Map(); // of the list; they stay, so that a click is not lost

function makeRow(id, name) {
  const words = make("span", { class: "about" });
  const open = make("button", { type: "button", class: "open" }, make("span", { class: "name" }, name), words);
  open.addEventListener("click", () => select(id));
  const remove = make("button", { type: "button", class: "quiet", "aria-label": `Remove ${name}` }, "×");
  remove.addEventListener("click", () => {
    const one = state.images.find((other) => other.id === id);
    if (mayLose([one])) tried(() => ask("DELETE", `/api/images/${id}`));
  });
  const bar = make("progress", { max: 1, value: 0, "aria-hidden": "true" });
  return { item: make("li", {}, open, remove, bar), open, words, bar };
}

function showRow(one) {
  const row = rows.get(one.id) ?? makeRow(one.id, one.name);
  rows.set(one.id, row);
  const share = `${Math.round(100 * one.share)} %`;
  row.item.className = one.state;
  row.words.textContent = one.state === "restoring" ? share : STATES[one.state] || sizeOf(one);
  row.bar.hidden = one.state !== "restoring";
  row.bar.value = one.share;
  if (one.id === selected) row.open.setAttribute("aria-current", "true");
  else row.open.removeAttribute("aria-current");
  return row.item;
}

function listSending() {
  return state.sending.map((job) => {
    const bar = make("progress", { max: 1, value: job.share, "aria-hidden": "true" });
    const about = make("span", { class: "about" }, `is sent, ${Math.round(100 * job.share)} %`);
    return make("li", { class: "sending" }, make("span", { class: "open" }, job.name, about), bar);
  });
}

function listImages() {
  const items = state.images.map(showRow);
  for (const [id, row] of rows) {
    if (!state.images.some((one) => one.id === id)) {
      row.item.remove();
      rows.delete(id);
    }
  }
  for (const item of items) if (!item.isConnected) byId("list").append(item);
  for (const item of byId("list").querySelectorAll(".sending")) item.remove();
  byId("list").append(...listSending());
  const done = state.images.filter((one) => one.result);
  byId("together").hidden = state.images.length < 2;
  byId("restore-all").textContent = `Restore all (${ready().length})`;
  byId("restore-all").disabled = ready().length === 0;
  byId("stop-all").hidden = !state.images.some(isBusy);
  byId("download-all").hidden = done.length < 2;
}

function changed(latest) {
  document.body.classList.remove("ended");
  Object.assign(state, latest);
  for (const one of state.images) {
    if (one.state === "restoring" && !begun.has(one.id)) begun.set(one.id, performance.now());
    if (one.state !== "restoring") begun.delete(one.id);
  }
  takeAwaited();
  if (!image()) selected = state.images.at(-1)?.id ?? null;
  byId("choose-root").hidden = state.root === null;
  byId("root-name").textContent = state.root ?? "";
  listImages();
  showImage();
  showCommand();
}

function select(id) {
  selected = id;
  place = {};
  listImages();
  showImage();
  showCommand();
}

// the image in view

function showImage() {
  const one = image();
  byId("empty").hidden = Boolean(one);
  byId("shown").hidden = !one;
  byId("restore").disabled = !one || isBusy(one) || one.state === "asks";
  diagnosis.show(one);
  if (!one) {
    shown = "";
    showProgress(null);
    return;
  }
  byId("question").hidden = one.answers.length === 0 || one.state !== "asks";
  const now = [one.id, one.axes, one.shape.join()].join(" ");
  if (now !== shown) {
    shown = now;
    askAxes(one);
    facts(one);
    byId("canvas").setAttribute("aria-label", `${one.name}: input, and result where there is one`);
    viewer.clear("result");
    viewer.clear("input");
    compare("");
    result = "";
    places(one);
    viewer.setSize(lengthOf(one, "X"), lengthOf(one, "Y"));
    viewer.resized();
    showPlane();
  }
  showProgress(one);
  showResult(one);
}

const lengthOf = (one, letter) => one.shape[[...one.axes].indexOf(letter)] ?? 1;

function depth(one) {
  return one.result && one.key === key ? (one.resultDepth ?? lengthOf(one, "Z")) : lengthOf(one, "Z");
}

/** Sliders for the axes that have several places. */
function places(one) {
  const rows = [..."TCZ"].filter((letter) => one.axes.includes(letter) && lengthOf(one, letter) > 1);
  byId("places").replaceChildren(
    ...rows.map((letter) => {
      const last = lengthOf(one, letter) - 1;
      place[letter] = Math.min(place[letter] ?? (letter === "Z" ? last >> 1 : 0), last);
      const range = { type: "range", min: 0, max: last, value: place[letter], id: `place-${letter}` };
      const input = make("input", range);
      const words = () =>
        letter === "C" && one.channels[place.C] ? one.channels[place.C] : `${place[letter] + 1} of ${last + 1}`;
      const output = make("output", {}, words());
      input.addEventListener("input", () => {
        place[letter] = Number(input.value);
        output.value = words();
        showPlane();
      });
      return make("label", { class: "slider" }, make("span", {}, AXES[letter]), input, output);
    }),
  );
}

/** Place in the input, or in a result that has more planes. */
function placeIn(one, which) {
  const index = { T: place.T ?? 0, C: place.C ?? 0, Z: place.Z ?? 0 };
  const many = one.resultDepth, few = lengthOf(one, "Z");
  if (which === "result" && many && few > 1) index.Z = Math.round((index.Z * (many - 1)) / (few - 1));
  return index;
}

async function showPlane() {
  const one = image();
  try {
    const first = await viewer.load("input");
    if (image()?.id !== one.id) return;
    if (range.of !== `${one.id} ${place.C ?? 0}`) {
      range = { ...contrastOf(first), of: `${one.id} ${place.C ?? 0}` };
      setContrast(range.low, range.high);
    }
  } catch (error) {
    if (error.name !== "AbortError") byId("message").textContent = error.message;
    return;
  }
  result = "";
  if (image()) showResult(image());
}

function fetchPixels(which, part, signal) {
  const one = image();
  const query = new URLSearchParams({ which, ...part, ...placeIn(one, which) });
  return askPixels("GET", `/api/images/${one.id}/pixels?${query}`, undefined, signal);
}

// contrast

function setContrast(low, high) {
  const span = range.most - range.least;
  byId("low").value = (1000 * (low - range.least)) / span;
  byId("high").value = (1000 * (high - range.least)) / span;
  viewer.setContrast(low, high);
}

function contrastMoved() {
  const at = (name) => range.least + (Number(byId(name).value) / 1000) * (range.most - range.least);
  viewer.setContrast(at("low"), Math.max(at("high"), at("low") + 1e-9));
}

// results and previews

let result = ""; // what is on the result's side

/** Show the result of the chosen options; a preview of it until then. */
function showResult(one) {
  const fits = one.result && one.key === key && !isBusy(one);
  const wanted = JSON.stringify([one.id, fits, key, placeIn(one, "result"), one.axes]);
  if (wanted === result) return;
  result = wanted;
  if (fits) {
    viewer
      .load("result")
      .then(() => compare("Restored"))
      .catch(() => {});
  } else {
    schedulePreview();
  }
}

function compare(words) {
  byId("after").textContent = words;
  byId("after").hidden = byId("split-row").hidden = !viewer.compares;
  byId("canvas").dataset.result = viewer.compares ? words : "";
}

function schedulePreview() {
  clearTimeout(previewPause);
  previewPause = setTimeout(preview, PAUSE);
}

async function preview() {
  const one = image();
  previewing?.abort();
  if (!one || one.state === "asks" || state.images.some((other) => other.state === "restoring")) return;
  if (one.result && one.key === key) return;
  if (!byId("preview").checked || !key) {
    viewer.clear("result");
    compare("");
    return;
  }
  const abort = (previewing = new AbortController());
  const view = viewer.visible();
  const index = placeIn(one, "input");
  index.X = Math.round(view.left + view.columns / 2);
  index.Y = Math.round(view.top + view.rows / 2);
  const asked = { options: options.values(), index };
  try {
    const part = await askPixels("POST", `/api/images/${one.id}/preview`, asked, abort.signal);
    if (abort.signal.aborted || image()?.id !== one.id) return;
    viewer.put(part);
    compare("Preview");
  } catch (error) {
    if (error.name !== "AbortError" && error.status !== 409) byId("message").textContent = error.message;
  }
}

/** A preview of a part follows the view. */
function moved() {
  byId("split").value = 100 * viewer.split;
  byId("split").setAttribute("aria-valuetext", `${Math.round(100 * viewer.split)} % input`);
  const part = viewer.sides.result[0];
  const whole = !part || part.step > 1 || (part.width >= viewer.width && part.height >= viewer.height);
  if (!whole && byId("canvas").dataset.result === "Preview") schedulePreview();
}

function showProgress(one) {
  const busy = Boolean(one) && isBusy(one);
  byId("stop").hidden = byId("progress").hidden = !busy;
  byId("progress").value = one?.share ?? 0;
  byId("download").hidden = !one?.result || one.saved;
  byId("message").textContent = one ? [one.message, ...one.notes].filter(Boolean).join(" ") : "";
  byId("status").textContent = one ? statusOf(one) : "";
  const ready = Boolean(one?.result) && one.key === key && !busy;
  byId("restore").classList.toggle("main", !ready);
  byId("download").classList.toggle("main", ready);
}

function statusOf(one) {
  if (one.state === "waiting") return "Waits for its turn.";
  if (one.state === "restoring") return `Restoring, ${Math.round(100 * one.share)} %${timeLeft(one)}.`;
  if (one.state === "done" && one.saved) return `Saved: ${one.saved}`;
  if (one.state === "done") return "Restored. Compare, then download.";
  if (one.state === "stopped") return "Stopped. Nothing half done is left.";
  if (one.state === "asks") return "Say first what its axes are.";
  return one.state === "failed" ? "Not restored." : "";
}

function timeLeft(one) {
  const spent = (performance.now() - (begun.get(one.id) ?? performance.now())) / 1000;
  if (spent < 3 || one.share < 0.02) return "";
  const left = (spent * (1 - one.share)) / one.share;
  return left < 90 ? `, ${Math.ceil(left)} s left` : `, ${Math.ceil(left / 60)} min left`;
}

// questions

function askAxes(one) {
  byId("lengths").textContent = one.shape.join(" × ");
  byId("answers").replaceChildren(
    ...one.answers.map((axes, k) => {
      const button = make("input", { type: "radio", name: "answer", value: axes, checked: k === 0 });
      return make("label", { class: "tick" }, button, ` ${MEANINGS[axes] ?? axes} (${axes})`);
    }),
  );
  byId("axes").value = "";
}

function facts(one) {
  const names = { T: "time", C: "channels", Z: "planes", Y: "height", X: "width" };
  const lengths = [...one.axes].map((letter, k) => `${names[letter]} ${one.shape[k]}`).join(", ");
  const sizes = [..."ZYX"].filter((letter) => one.axes.includes(letter));
  const said = one.saidVoxelSize?.split(",") ?? [];
  const stated = sizes.map((letter, k) => said.at(k - sizes.length) ?? one.pixelSize[letter]);
  const words = sizes.map((letter, k) => `${letter} ${stated[k] ?? "?"}`).join(", ");
  const rows = { Size: lengths, Axes: one.axes, Pixels: one.dtype, "Pixel size (µm)": words };
  if (one.channels.length) rows.Channels = one.channels.join(", ");
  byId("facts").replaceChildren(
    ...Object.entries(rows).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
  const silent = stated.some((size) => size === undefined);
  byId("unstated").hidden = !silent;
  byId("sizes-why").textContent = silent
    ? "The file does not state all pixel sizes. They are needed to make stacks isotropic, and kept in the result."
    : "Other pixel sizes than the file states:";
  byId("about").open = silent && sizes.includes("Z");
  byId("size-fields").replaceChildren(
    ...sizes.map((letter, k) => {
      const value = stated[k] ?? "";
      const input = make("input", { id: `size-${letter}`, inputmode: "decimal", value, size: 6 });
      return make("label", { class: "field" }, make("span", {}, `${letter}, µm`), " ", input);
    }),
  );
}

function tell(said) {
  const one = image();
  const before = { axes: one.saidAxes, voxelSize: one.saidVoxelSize };
  return tried(async () => {
    await ask("PATCH", `/api/images/${one.id}`, { ...before, ...said });
    shown = "";
    result = "";
  });
}

// the command

function showCommand() {
  clearTimeout(commandPause);
  commandPause = setTimeout(command, 60);
}

async function command() {
  const one = image();
  const asked = { images: one ? [one.id] : [], options: options.values() };
  try {
    const answer = await ask("POST", "/api/command", asked);
    if (image()?.id !== one?.id) return;
    byId("command").textContent = answer.command || "—";
    byId("copy").disabled = byId("save").disabled = !answer.command;
    toml = answer.toml;
    const before = key;
    key = answer.key;
    if (one && key !== before) {
      showProgress(one);
      showResult(one);
    }
    byId("restore").disabled = !one || isBusy(one) || !answer.command;
    const [problem] = one?.state === "asks" ? [] : answer.problems;
    if (problem) byId("message").textContent = problem;
  } catch (error) {
    key = "";
    byId("restore").disabled = true;
    byId("message").textContent = error.message;
  }
}

async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(byId("command")); // where the page is not this machine's
    document.execCommand("copy");
  }
  byId("status").textContent = "Copied.";
}

function saveOptions() {
  const link = make("a", { download: "options.toml" });
  link.href = URL.createObjectURL(new Blob([toml], { type: "application/toml" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  byId("status").textContent = "Saved as options.toml.";
}

function restore(images) {
  return tried(() => ask("POST", "/api/restore", { images, options: options.values() }));
}

// what is pressed

const pressed = {
  choose: () => byId("files").click(),
  "choose-folder": () => byId("folders").click(),
  "choose-root": () => chooser.show(),
  sample: () => tried(() => ask("POST", "/api/sample").then(openFirst)),
  "zoom-in": () => viewer.zoomBy(1.5),
  "zoom-out": () => viewer.zoomBy(1 / 1.5),
  "zoom-fit": () => viewer.fit(),
  auto: () => setContrast(range.low, range.high),
  "restore-all": () => restore(ready().map((one) => one.id)),
  stop: () => tried(() => ask("POST", "/api/stop", { image: selected })),
  "stop-all": () => tried(() => ask("POST", "/api/stop", {})),
  download: () => tried(() => downloadResults([image()])),
  "download-all": () =>
    tried(() => downloadResults(state.images.filter((one) => one.result))),
  diagnose: () => diagnosis.look(image(), options.values()),
  copy: copyCommand,
  save: saveOptions,
  quit: () => mayLose(state.images) && tried(() => ask("POST", "/api/quit")),
};

/** The images that can be restored now. */
const ready = () => state.images.filter((one) => !isBusy(one) && one.state !== "asks");

/** Ask before results are gone that nobody has downloaded. */
function mayLose(images) {
  const lost = images.filter((one) => isBusy(one) || (one.result && !one.saved && !one.fetched));
  const names = lost.map((one) => one.name).join(", ");
  return !lost.length || confirm(`Not downloaded yet, and gone then: ${names}. Go on?`);
}

function downloadResults(images) {
  return download("/api/downloads", { images: images.map((one) => one.id) });
}

/** Show the first of some images that were opened just now. */
function openFirst({ images }) {
  awaited = images[0]?.id ?? null;
  if (takeAwaited()) select(selected);
}

function takeAwaited() {
  if (!state.images.some((one) => one.id === awaited)) return false;
  [selected, awaited, place] = [awaited, null, {}];
  return true;
}

function listen() {
  for (const [name, work] of Object.entries(pressed)) byId(name).addEventListener("click", work);
  byId("empty").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", (event) => {
    uploads.add(event.target.files);
    event.target.value = "";
  });
  byId("folders").addEventListener("change", (event) => {
    uploads.addChosen(event.target.files);
    event.target.value = "";
  });
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (image()) restore([selected]);
  });
  byId("question").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = byId("answers").querySelector("input:checked")?.value;
    tell({ axes: byId("axes").value.trim().toUpperCase() || chosen });
  });
  byId("sizes").addEventListener("submit", (event) => {
    event.preventDefault();
    const inputs = [...byId("size-fields").querySelectorAll("input")];
    const sizes = inputs.map((input) => input.value.trim().replace(",", "."));
    tell({ voxelSize: sizes.some((size) => size) ? sizes.join(",") : null });
  });
  for (const name of ["low", "high"]) byId(name).addEventListener("input", contrastMoved);
  byId("split").addEventListener("input", (event) => viewer.setSplit(event.target.value / 100));
  byId("preview").addEventListener("input", schedulePreview);
  listenToDrops();
}

function listenToDrops() {
  let inside = 0;
  addEventListener("dragenter", () => document.body.classList.toggle("drop", ++inside > 0));
  addEventListener("dragleave", () => document.body.classList.toggle("drop", --inside > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove("drop");
    tried(() => uploads.addDropped(event.dataTransfer.items));
  });
}

// the beginning

const viewer = new Viewer(byId("canvas"), fetchPixels, moved);
const options = new Options(showCommand);
const diagnosis = new Diagnosis((hints) => options.tickHints(hints));
const uploads = new Uploads(
  (sending) => {
    state.sending = sending;
    listImages();
  },
  openFirst,
  notice,
);
let chooser;

async function begin() {
  if (!(await enter())) {
    notice("Open the address that the program shows in its terminal: this page has no key.");
    byId("work").hidden = true;
    return;
  }
  if (!["127.0.0.1", "localhost", "[::1]"].includes(location.hostname)) {
    byId("where").textContent = `Images are sent to ${location.hostname}, and nowhere else`;
  }
  listen();
  const form = await options.open();
  uploads.suffixes = form.suffixes;
  byId("files").accept = form.suffixes.join(",");
  const first = await ask("GET", "/api/state");
  chooser = new Chooser(first.root, failed);
  for (const line of first.lost) notice(line, "lost");
  changed(first);
  document.body.classList.add("begun");
  follow(changed, () => document.body.classList.add("ended"));
}

begin().catch(failed);
