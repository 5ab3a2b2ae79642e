// One picture in full: before and after, magnifier, downloads, how it was made, again with changes. And two pictures, compared.

import { api, at } from "./api.js";
import { $, act, ask, button, closable, h, problem, say } from "./shared/dom.js";
import { ENDED, changes, remove } from "./jobs.js";
import { setPhoto } from "./photo.js";
import { Stage, switches } from "./shared/stage.js";
import { balanced, change, state, styles } from "./state.js";
import { facts, field, number, photoName, title } from "./words.js";

const VIEW = 1600;

const stage = new Stage($("viewer-stage"), ["photograph", "painting"]);
const versus = new Stage($("versus-stage"));
let current = null;

export const downloads = (job) =>
  (job.video ? [job.video.format] : ["png", "jpeg"]).map((format) => {
    const text = `Download ${format.toUpperCase()}`;
    const href = at.result(job, { format: format.replace("jpeg", "jpg"), download: 1 });
    return h("a", { class: "button small", href, download: "", text, "aria-label": `${text}: ${title(job)}` });
  });

/** A painted clip, with the browser's own controls. */
function player(job) {
  const src = at.result(job, { format: job.video.format });
  if (job.video.format === "gif") return h("img", { src, alt: title(job) });
  const video = h("video", { src, poster: at.result(job, { size: VIEW }), controls: true, playsinline: true, preload: "metadata", "aria-label": title(job) });
  video.addEventListener("error", () => problem($("viewer-problem"), "This browser cannot play the clip. Download it instead."));
  return video;
}

// ---------------------------------------- record

/** A record as a list of terms; a group of fields becomes a list in the list. */
function terms(record) {
  const list = h("dl");
  for (const [name, value] of Object.entries(record)) {
    if (`${value ?? ""}` === "") continue; // an empty list too
    const nested = typeof value === "object" && !Array.isArray(value);
    if (nested && !Object.keys(value).length) continue;
    list.append(h("div", { class: nested ? "nested" : "" }, h("dt", { text: field(name) }), h("dd", {}, nested ? terms(value) : shown(name, value))));
  }
  return list;
}

function shown(name, value) {
  if (Array.isArray(value)) return value.every((one) => typeof one !== "object") ? value.map((one) => (typeof one === "number" ? number(one) : one)).join(", ") : JSON.stringify(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Math.abs(value) < 0.01 && value ? value.toExponential(2) : number(value);
  if (/^[0-9a-f]{40,}$/.test(value)) return h("code", { text: `${value.slice(0, 16)}…`, title: value });
  return h("bdi", { text: value });
}

async function showRecord(job) {
  const place = $("viewer-record").lastElementChild;
  place.replaceChildren(h("p", { class: "soft", text: "Reading…" }));
  try {
    const record = await api.record(job.id);
    if (current?.id !== job.id) return;
    const notes = (job.notes || []).map((note) => h("li", { text: note }));
    place.replaceChildren(terms(record), ...(notes.length ? [h("ul", { class: "small" }, ...notes)] : []));
  } catch (error) {
    place.replaceChildren(h("p", { class: "problem", role: "alert", text: error.message }));
  }
}

// ---------------------------------------- viewer

export function openViewer(job, { record = false } = {}) {
  current = job;
  const name = title(job);
  $("viewer-title").textContent = name;
  $("viewer-facts").textContent = facts(job);
  problem($("viewer-problem"), null);
  const film = Boolean(job.video);
  $("viewer-film").hidden = !film;
  $("viewer-film").replaceChildren(...(film ? [player(job)] : []));
  $("viewer-stage").hidden = $("viewer-lens").parentElement.hidden = film;
  stage.size(job.result.width, job.result.height);
  stage.show(1, film ? "" : at.result(job, { size: VIEW }), name);
  const split = $("viewer-split");
  split.checked = false;
  stage.compare(false);
  split.closest("label").hidden = true;
  stage.show(0, "");
  if (job.kind === "paint" && job.photo) {
    stage.show(0, at.image(job.photo.id, VIEW), photoName(job.photo)).then((there) => (split.closest("label").hidden = !there));
  }
  const run = (action) => (event) => act(event.currentTarget, $("viewer-problem"), action);
  $("viewer-acts").replaceChildren(
    ...downloads(job),
    ...(job.photo ? [button("Again with changes", run(() => again(job)), { look: "small", image: "again" })] : []),
    button("Delete", run(() => drop(job)), { look: "small", image: "trash" }),
  );
  const details = $("viewer-record");
  details.open = false;
  details.lastElementChild.replaceChildren();
  if (!$("viewer").open) $("viewer").showModal();
  if (record) details.open = true;
}

/** Everything that a picture was made from, back into the editor. */
export async function again(job) {
  let photo;
  try {
    photo = await api.image(job.photo.id);
  } catch (error) {
    throw error.status === 404 ? new Error("Its photograph is no longer in the studio.") : error;
  }
  const gone = job.styles.filter(({ id }) => !styles.has(id)).length;
  const chosen = balanced(job.styles.filter(({ id }) => styles.has(id)));
  const known = Object.entries(job.options).filter(([name, value]) => name in state.options && value !== null);
  const regions = job.masks.map(({ mask, style }, index) => ({ id: `${job.id}-${index}`, mask, style: style === "keep" || styles.has(style) ? style : "keep" }));
  state.submitted = [...new Set([...state.submitted, ...job.masks.map(({ mask }) => mask)])];
  setPhoto(photo, { regions, film: job.video ? { ...job.video, blend: [] } : undefined });
  if (chosen.length) {
    change("blend", { blend: chosen.length > 1 });
    change("styles", { styles: chosen });
  }
  change("options", { options: { ...state.options, ...Object.fromEntries(known) } });
  $("viewer").close();
  location.hash = "#studio";
  $("main").focus({ preventScroll: true });
  say(`The settings of ${title(job)} are in the editor.${gone ? " A style of it was deleted." : ""}`);
}

async function drop(job) {
  if (!(await confirmDrop(job))) return;
  await remove(job);
  $("viewer").close();
}

export const confirmDrop = (job) => ask(`Delete “${title(job)}”? This cannot be undone.`, job.video ? "Delete the clip" : "Delete the picture");

// ---------------------------------------- compare

let pair = [];

export function openVersus(left, right) {
  pair = [left, right];
  versus.names = pair.map(title);
  $("versus-left").textContent = title(left);
  $("versus-right").textContent = title(right);
  versus.size(left.result.width, left.result.height);
  pair.forEach((job, side) => versus.show(side, at.result(job, { size: VIEW }), title(job)));
  versus.compare(true);
  if (!$("versus").open) $("versus").showModal();
}

export function startViewer() {
  switches(stage, $("viewer-split"), $("viewer-lens"));
  switches(versus, null, $("versus-lens"));
  closable($("viewer"), $("viewer-close"));
  closable($("versus"), $("versus-close"));
  $("viewer").addEventListener("close", () => $("viewer-film").replaceChildren()); // which ends the sound
  $("versus-swap").addEventListener("click", () => openVersus(pair[1], pair[0]));
  $("viewer-record").addEventListener("toggle", () => $("viewer-record").open && current && showRecord(current));
  changes.on("removed", (id) => id === current?.id && $("viewer").open && $("viewer").close());
}

export const isPicture = (job) => job.kind !== "batch" && Boolean(job.result) && ENDED.includes(job.state);
