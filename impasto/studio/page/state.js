// What is being edited. It survives a reload: every change is stored in this browser.

import { bus } from "./shared/dom.js";

const KEY = "impasto.studio";

export const editor = bus(); // "photo", "styles", "options", "regions", "blend", "shown": what changed

export const state = {
  photo: null, // {id, name, width, height, notes, clip}; of a clip its first frame
  film: { start: null, end: null, format: "mp4" }, // what is painted of a clip, in seconds, and as what it is stored
  styles: [], // [{id, weight}], weights add up to 1
  blend: false, // whether several may be chosen
  options: {}, // by name; size may be "original"
  regions: [], // [{id, mask: image id or null, style: id or "keep"}]
  job: null, // id of the job whose progress the editor shows
  shown: "instant", // or "job": which picture is on the stage
  submitted: [], // ids of masks that belong to jobs and so must stay
};

/** Every style by id, in the server's order. */
export const styles = new Map();

/** Whether the option keep_colors can be used: only a painting, not a stored style, has colors that can be changed. */
export function recolorable() {
  const used = [...state.styles.map((one) => one.id), ...state.regions.map((one) => one.style)].filter((id) => id !== "keep");
  return used.every((id) => styles.get(id)?.kind === "painting");
}

/** The options as they can be used with the chosen styles, and with a clip. */
export function usable() {
  const options = { ...state.options };
  if (!recolorable()) options.keep_colors = "off";
  if (state.photo?.clip && options.quality === "draft") options.quality = "normal";
  return options;
}

let saving = 0;

function save() {
  clearTimeout(saving);
  saving = 0;
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    // Private windows may refuse; the page works without.
  }
}

export function change(name, values) {
  Object.assign(state, values);
  saving ||= setTimeout(save, 200);
  editor.emit(name);
}

const text = (value) => typeof value === "string" && value.length > 0;

export function restore() {
  let old;
  try {
    old = JSON.parse(localStorage.getItem(KEY) || "{}");
  } catch {
    return;
  }
  if (!old || typeof old !== "object") return;
  if (old.photo && text(old.photo.id)) state.photo = old.photo;
  if (old.film && typeof old.film === "object") state.film = { ...state.film, ...old.film };
  if (Array.isArray(old.styles)) state.styles = old.styles.filter((one) => text(one?.id) && one.weight >= 0).slice(0, 4);
  if (old.options && typeof old.options === "object") state.options = old.options;
  if (Array.isArray(old.regions)) state.regions = old.regions.filter((one) => text(one?.id) && text(one.style));
  if (Array.isArray(old.submitted)) state.submitted = old.submitted.filter(text).slice(-200);
  if (text(old.job)) state.job = old.job;
  state.blend = old.blend === true;
  state.shown = old.shown === "job" && state.job ? "job" : "instant";
}

window.addEventListener("pagehide", save);
document.addEventListener("visibilitychange", () => document.hidden && save());

/** The masks of the regions that have one, as the server wants them. */
export const masks = () => state.regions.filter((one) => one.mask).map(({ mask, style }) => ({ mask, style }));

/** Weights that add up to 1. */
export function balanced(styles) {
  const sum = styles.reduce((total, one) => total + one.weight, 0);
  return styles.map(({ id, weight }) => ({ id, weight: sum > 0 ? weight / sum : 1 / styles.length }));
}
