// Dials made from the options that the server lists: ranges for numbers, radio buttons for choices.

import { $, h } from "./shared/dom.js";
import { ofStrength, ofStrokes, slider } from "./shared/slider.js";
import { change, editor, recolorable, state, usable } from "./state.js";
import { COLORS, FIXED, HINTS, QUALITIES } from "./words.js";

const STOPS = [256, 384, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192];

let known = {}; // options by name, as the server lists them
const places = new Map(); // problem lines by option
const updates = []; // run when options change elsewhere

const set = (name, value) => change(name === "quality" || name === "seed" ? "plan" : "options", { options: { ...state.options, [name]: value } });

/** A labelled range for an option. */
function range(name, label, more) {
  const made = slider(`dial-${name}`, label, { ...more, title: known[name].about, get: () => state.options[name], set: (value) => set(name, value) });
  places.set(name, made.place);
  updates.push(made.update);
  return made.element;
}

/** Radio buttons in one row. closed: why none but the default can be chosen now, or "". */
function choice(name, label, words, hints, closed = () => "", barred = () => false) {
  const hint = h("p", { class: "soft small", id: `dial-${name}-hint`, role: "status" });
  const place = h("p", { class: "problem", role: "alert", hidden: true });
  const radios = known[name].choices.map((value) => {
    const input = h("input", { type: "radio", class: "unseen", name: `dial-${name}`, value, on: { change: () => set(name, value) } });
    return h("label", {}, input, h("span", { text: words[value] || value }));
  });
  const update = () => {
    const why = closed();
    const current = usable()[name];
    for (const { firstElementChild: radio } of radios) {
      radio.checked = radio.value === current;
      radio.parentElement.hidden = barred(radio.value);
      radio.disabled = Boolean(why) && radio.value !== known[name].default;
    }
    const text = why || hints()[current] || "";
    if (hint.textContent !== text) hint.textContent = text;
  };
  places.set(name, place);
  updates.push(update);
  return h("fieldset", { class: "dial choice" }, h("legend", { text: label }), h("div", { class: "segments" }, ...radios), hint, place);
}

/** The longer side in a few stops; the last is the photograph's own. */
function size() {
  const { minimum = 16, maximum = 65_535 } = known.size;
  const stops = [...STOPS.filter((stop) => stop >= minimum && stop <= maximum), "original"];
  const at = (value) => {
    if (value === "original") return stops.length - 1;
    const found = stops.findIndex((stop) => stop >= value);
    return found < 0 ? stops.length - 2 : found;
  };
  return range("size", "Size", { min: 0, max: stops.length - 1, step: 1, at, value: (index) => stops[index], shown: pixels });
}

function pixels(value) {
  const { photo } = state;
  if (!photo) return value === "original" ? "as the photograph" : `${value} pixels`;
  const longer = Math.max(photo.width, photo.height);
  const scale = value === "original" ? 1 : value / longer;
  const sides = [photo.width, photo.height].map((side) => Math.max(1, Math.round(side * scale)));
  return `${sides.join(" × ")}${value === "original" ? ", as the photograph" : ""}`;
}

/** A field for a number. at: reads it; take: gets what was entered, or null. */
function field(name, label, at, take, more = {}) {
  const id = `dial-${name}`;
  const input = h("input", { type: "number", id, min: 0, "aria-describedby": `${id}-problem`, ...more });
  input.addEventListener("change", () => take(input.value === "" || Number(input.value) < 0 ? null : Number(input.value)));
  const place = h("p", { class: "problem", id: `${id}-problem`, role: "alert", hidden: true });
  places.set(name, place);
  updates.push(() => (input.value = at() ?? ""));
  return h("div", { class: "dial" }, h("label", { for: id, text: label }), input, place);
}

function seed() {
  const take = (value) => set("seed", Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER));
  return field("seed", "Seed", () => state.options.seed, take, { step: 1, inputmode: "numeric" });
}

/** Which part of a clip is painted, and as what it is stored. */
function film() {
  const put = (name, value) => change("plan", { film: { ...state.film, [name]: value } });
  const moment = (name, label) => field(name, label, () => state.film[name], (value) => put(name, value), { step: "any", inputmode: "decimal" });
  const select = h("select", { id: "dial-format", on: { change: () => put("format", select.value) } }, ...["mp4", "webm", "gif"].map((one) => h("option", { value: one, text: one.toUpperCase() })));
  const format = h("div", { class: "dial" }, h("label", { for: "dial-format", text: "Format" }), select);
  const box = h("div", { class: "part" }, moment("start", "Start (s)"), moment("end", "End (s)"), format);
  updates.push(() => {
    box.hidden = !state.photo?.clip;
    select.value = state.film.format;
  });
  return box;
}

/** Show an error at the option that it is about. Returns whether there is such a dial. */
export function blame(error) {
  const place = places.get(error?.option);
  if (!place) return false;
  place.textContent = error.message;
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
  return true;
}

export function unblame() {
  for (const place of places.values()) place.hidden = true;
}

export function startDials({ options }) {
  known = options;
  const defaults = Object.fromEntries(Object.entries(options).map(([name, { default: value }]) => [name, value]));
  const kept = Object.entries(state.options).filter(([name, value]) => name in defaults && fits(options[name], value));
  state.options = { ...defaults, ...Object.fromEntries(kept) };
  $("dials").append(range("strength", "Strength", ofStrength(known.strength)), range("style_scale", "Stroke size", ofStrokes(known.style_scale)), choice("keep_colors", "Colors", COLORS, () => HINTS.keep_colors, () => (recolorable() ? "" : FIXED)));
  const clip = () => Boolean(state.photo?.clip);
  const quality = choice("quality", "Quality", QUALITIES, () => (clip() ? HINTS.film : HINTS.quality), undefined, (value) => clip() && value === "draft");
  $("paint-dials").append(quality, size(), film());
  if (known.seed) $("dials").append(h("details", { class: "small" }, h("summary", { text: "More" }), seed()));
  const looks = ["strength", "style_scale", "keep_colors"];
  const update = () => {
    for (const one of updates) one();
    unblame();
    $("reset").hidden = looks.every((name) => state.options[name] === defaults[name]);
  };
  $("reset").addEventListener("click", () => {
    change("options", { options: { ...state.options, ...Object.fromEntries(looks.map((name) => [name, defaults[name]])) } });
    $("dial-strength").focus();
  });
  for (const name of ["options", "plan", "photo", "styles", "style-list", "regions"]) editor.on(name, update);
  update();
}

function fits(option, value) {
  if (option.kind === "choice") return option.choices.includes(value);
  if (value === "original") return option === known.size;
  return typeof value === "number" && value >= (option.minimum ?? -Infinity) && value <= (option.maximum ?? Infinity);
}
