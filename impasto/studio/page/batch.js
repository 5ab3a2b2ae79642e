// Many photographs at once: a zip or a folder of the server, in some styles. Loaded when its view is opened for the first time.

import { at, json, upload } from "./api.js";
import { controls } from "./controls.js";
import { $, act, ask, button, h, problem, say } from "./shared/dom.js";
import { ENDED, changes, control, isOpen, jobs, learn, remove } from "./jobs.js";
import { editor, state, styles } from "./state.js";
import { QUALITIES, bytes, count, percent, status, styleName, title } from "./words.js";

const MOST = 100; // batches that are listed
const MOST_FAILURES = 1000; // that the server lists of a batch
const SIZES = [256, 512, 768, 1024, 1536, 2048, "original"];
const EVERY = { all: "every style", "random:1": "one style, at random" };
const FORMATS = { png: "PNG", jpg: "JPEG", webp: "WebP", tif: "TIFF" };

const rows = new Map(); // of the list, by job
let folders = [];
let picked = new Set(); // ids of styles

// ---------------------------------------- the form

const select = (id, label, choices, value) => {
  const options = Object.entries(choices).map(([name, text]) => h("option", { value: name, text, selected: name === String(value) }));
  const element = h("select", { id: `batch-${id}` }, ...options);
  return { element, dial: h("div", { class: "dial choice" }, h("label", { for: `batch-${id}`, text: label }), element) };
};

const source = h("select", { id: "batch-folder" });
const bar = h("progress", { max: 1, value: 0, "aria-label": "Uploading", hidden: true });
const notes = h("p", { class: "soft small", hidden: true });
const file = h("input", { type: "file", id: "batch-file", accept: ".zip,application/zip", hidden: true, tabindex: -1, "aria-label": "Zip of photographs" });
const pick = button("Upload a zip", () => file.click());
const grid = h("div", { class: "grid batch-grid", role: "group", "aria-label": "Styles of the batch" });
const quality = select("quality", "Quality", QUALITIES, "instant");
const size = select("size", "Size", Object.fromEntries(SIZES.map((one) => [one, one === "original" ? "As the photographs" : `${one} pixels`])), 512);
const pairs = select("pairs", "Each photograph in", EVERY, "all");
const format = select("format", "Format", FORMATS, "png");
const hint = h("p", { class: "soft small" });
const wrong = h("p", { class: "problem", role: "alert", hidden: true });
const go = button("Paint all", paint, { look: "primary" });
const list = h("ul", { class: "jobs", "aria-label": "Batches, newest first" });
const drop = button("Delete the zip", (event) => act(event.currentTarget, wrong, forget), { look: "small plain" });

const chosen = () => folders.find(({ id }) => id === source.value);

function drawForm() {
  const folder = chosen();
  notes.textContent = folder ? folder.notes.join(" ") : "";
  notes.hidden = !notes.textContent;
  drop.hidden = folder?.kind !== "zip";
  go.disabled = !folder || !picked.size;
  const many = pairs.element.value === "all" ? picked.size : 1;
  const { strength, style_scale: strokes } = state.options;
  const look = `Strength ${percent(strength)} and stroke size ${strokes} × are those of the studio.`;
  hint.textContent = go.disabled ? "Choose photographs and a style." : `${folder.photos ? `${count(folder.photos * many, "image", "images")}. ` : ""}${look}`;
}

function drawStyles() {
  picked = new Set([...picked].filter((id) => styles.has(id)));
  const tiles = [...styles.values()].map((style) => {
    const input = h("input", { type: "checkbox", class: "unseen", value: style.id, checked: picked.has(style.id) });
    input.addEventListener("change", () => {
      picked[input.checked ? "add" : "delete"](style.id);
      drawForm();
    });
    const image = h("img", { alt: "", width: 160, height: 160, loading: "lazy", src: at.style(style.id, 160) });
    return h("label", { class: "tile" }, input, image, h("bdi", { class: "name", text: styleName(style) }));
  });
  grid.replaceChildren(...tiles);
  drawForm();
}

async function loadFolders(wanted = source.value) {
  folders = (await json("GET", "folders")).folders;
  const facts = ({ name, kind, photos }) => (kind === "zip" ? `${name} (${count(photos, "photograph", "photographs")})` : `${name} (on the server)`);
  const none = h("option", { value: "", text: folders.length ? "Choose a folder" : "No folders yet" });
  source.replaceChildren(none, ...folders.map((one) => h("option", { value: one.id, text: facts(one) })));
  source.value = folders.some(({ id }) => id === wanted) ? wanted : "";
  drawForm();
}

async function take(zip) {
  if (!zip) return;
  await act(pick, wrong, async () => {
    bar.value = 0;
    bar.hidden = false;
    try {
      const { max_upload: most } = await json("GET", "limits");
      if (zip.size > most) throw new Error(`${zip.name} has ${bytes(zip.size)}; at most ${bytes(most)} can be uploaded.`);
      const folder = await upload("folders", zip, zip.name, (share) => (bar.value = share));
      await loadFolders(folder.id);
      say(`${folder.name} is here, ${count(folder.photos, "photograph", "photographs")}.`);
    } finally {
      bar.hidden = true;
    }
  });
}

async function forget() {
  const { id, name } = chosen();
  if (!(await ask(`Delete “${name}”?`, "Delete"))) return;
  await json("DELETE", `folders/${id}`);
  await loadFolders();
}

function paint(event) {
  const { strength, style_scale } = state.options;
  const wanted = size.element.value;
  const options = { strength, style_scale, quality: quality.element.value, size: wanted === "original" ? wanted : Number(wanted) };
  const body = { folder: source.value, styles: [...picked], pairs: pairs.element.value, format: format.element.value, options };
  act(event.currentTarget, wrong, async () => {
    const made = await json("POST", "batches", body);
    learn(made);
    say(`${title(made)} is in the queue.`);
  });
}

// ---------------------------------------- the list

function build(job) {
  const name = h("h2", { tabindex: -1 }, h("bdi"));
  const text = h("p", { class: "soft small" });
  const progress = h("progress", { max: 1 });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const buttons = controls(job, error);
  const run = (action) => (event) => act(event.currentTarget, error, action);
  const save = h("a", { class: "button small", href: `/api/jobs/${job.id}/images`, download: "", text: "Download ZIP" });
  const again = button("Try again what failed", run(() => control(jobs.get(job.id), "retry")), { look: "small", image: "again" });
  const bin = button("Delete", run(() => away(jobs.get(job.id))), { look: "small", image: "trash" });
  const bad = h("ul", { class: "small" });
  const failed = h("details", { class: "record" }, h("summary"), h("div", {}, bad));
  failed.addEventListener("toggle", () => failed.open && listFailures(job.id, bad));
  const acts = h("div", { class: "line wrap end" }, ...buttons.elements, save, again, bin);
  const element = h("li", { class: "job" }, h("div", { class: "grow" }, name, text, progress, error, failed), acts);
  return { element, name, text, progress, buttons, save, again, bin, failed, bad };
}

async function listFailures(id, place) {
  try {
    const { failures } = await json("GET", `jobs/${id}/failures`);
    place.replaceChildren(...failures.map(({ photo, styles: names, problem: why }) => h("li", {}, h("bdi", { text: photo }), ` in ${names.join(", ")}: ${why}`)));
  } catch (error) {
    place.replaceChildren(h("li", { class: "bad", text: error.message }));
  }
}

async function away(job) {
  if (await ask(`Delete “${title(job)}” with its results?`, "Delete")) await remove(job);
}

function draw(job) {
  if (job.kind !== "batch") return;
  if (!rows.has(job.id)) {
    rows.set(job.id, build(job));
    const after = [...rows].filter(([id]) => id !== job.id && jobs.get(id)?.created < job.created).map(([, { element }]) => element);
    list.insertBefore(rows.get(job.id).element, [...list.children].find((one) => after.includes(one)) || null);
  }
  const { name, text, progress, buttons, save, again, bin, failed, bad } = rows.get(job.id);
  const lost = job.progress?.failed || 0;
  const done = (job.progress?.painted || 0) + (job.progress?.kept || 0);
  name.firstChild.textContent = title(job);
  const said = `${status(job)}${job.result ? `, ${count(job.result.images, "image", "images")}, ${bytes(job.result.bytes)}` : ""}`;
  if (text.textContent !== said) text.textContent = said;
  progress.hidden = !isOpen(job);
  progress.value = job.done;
  progress.setAttribute("aria-label", title(job));
  buttons.update(job);
  save.hidden = !(job.result || done);
  save.setAttribute("aria-label", `Download ZIP: ${title(job)}`);
  again.hidden = !(job.result && !isOpen(job) && (lost || !job.whole));
  bin.hidden = !(job.result && !isOpen(job));
  failed.hidden = !lost;
  failed.firstChild.textContent = count(lost, "image failed", "images failed");
  if (failed.open && bad.children.length !== Math.min(lost, MOST_FAILURES)) listFailures(job.id, bad);
}

function gone(id) {
  rows.get(id)?.element.remove();
  rows.delete(id);
}

async function reload() {
  const { jobs: ended } = await json("GET", `jobs?kind=batch&state=${ENDED.join(",")}&limit=${MOST}`);
  ended.forEach((job) => {
    if (!jobs.has(job.id)) jobs.set(job.id, job);
  });
  [...jobs.values()].sort((a, b) => a.created - b.created).forEach(draw);
}

const refresh = () => Promise.all([loadFolders(), reload()]).catch((error) => problem(wrong, error));

function start() {
  const choose = h("div", { class: "dial choice" }, h("label", { for: "batch-folder", text: "Photographs" }), h("div", { class: "line wrap" }, source, pick, file, drop));
  const about = h("p", { class: "note", text: "Upload a zip of photographs, or choose a folder that is in folders/ in the data directory of the studio. A batch waits while other pictures are painted." });
  const dials = h("div", { class: "batch-dials" }, quality.dial, size.dial, pairs.dial, format.dial);
  $("view-batch").append(about, choose, bar, notes, h("h2", { text: "Styles" }), grid, dials, h("div", { class: "line wrap" }, go, hint), wrong, list);
  document.head.append(h("link", { rel: "stylesheet", href: "/page/batch.css" }));
  for (const element of [source, pairs.element]) element.addEventListener("change", drawForm);
  file.addEventListener("change", () => {
    take(file.files[0]);
    file.value = "";
  });
  for (const name of ["style-list", "options"]) editor.on(name, name === "options" ? drawForm : drawStyles);
  editor.on("files", ([one]) => take(one));
  changes.on("job", ({ job }) => draw(job));
  changes.on("removed", gone);
  changes.on("reload", refresh);
  drawStyles();
}

start();
export const show = refresh;
