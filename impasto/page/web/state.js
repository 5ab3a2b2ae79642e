// What is chosen. It survives a reload: every change is stored in this browser. The photograph is not stored.

import { bus } from "./shared/dom.js";

const KEY = "impasto.page";
export const SIZES = [256, 512, 768, 1024, 1536, 2048]; // pixels of the longer side

export const editor = bus(); // "photo", "styles", "style-list", "options", "painted": what changed

export const DEFAULTS = { strength: 0.5, scale: 1, size: 512 };

export const state = {
  photo: null, // {name, width, height}
  styles: [{ id: "starry-night", weight: 1 }], // one, or two for a blend
  blend: false, // whether two may be chosen
  options: { ...DEFAULTS },
  camera: false, // whether the camera has the stage
};

/** Every style by id, in the order of the list: {id, name, title, own, blob, thumbnail}. */
export const styles = new Map();

function save() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ styles: state.styles, blend: state.blend, options: state.options }));
  } catch {
    // Private windows may refuse; the page works without.
  }
}

export function change(name, values) {
  Object.assign(state, values);
  save();
  editor.emit(name);
}

const within = (value, least, most) => typeof value === "number" && value >= least && value <= most;

/** What was chosen at the last visit, as far as it makes sense. */
export function restore() {
  let old = null;
  try {
    old = JSON.parse(localStorage.getItem(KEY));
  } catch {
    return;
  }
  if (!old || typeof old !== "object") return;
  const chosen = Array.isArray(old.styles) ? old.styles.filter((one) => styles.has(one?.id) && within(one.weight, 0, 1)) : [];
  if (chosen.length) state.styles = chosen.slice(0, old.blend === true ? 2 : 1);
  if (state.styles.length === 1) state.styles[0].weight = 1;
  state.blend = old.blend === true;
  const { strength, scale, size } = old.options || {};
  if (within(strength, 0, 1)) state.options.strength = strength;
  if (within(scale, 0.25, 4)) state.options.scale = scale;
  if (SIZES.includes(size)) state.options.size = size;
}
