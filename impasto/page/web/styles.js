// The styles: a grid to choose from, thumbnails of the photograph in each, own paintings, blends of two.

import { Cancelled, call, forget, teach, together } from "./engine.js";
import * as kept from "./kept.js";
import { idle, nameOf, sendPhoto, teachAll } from "./paint.js";
import { $, act, ask, button, h, icon, problem, say } from "./shared/dom.js";
import { slider } from "./shared/slider.js";
import { change, editor, restore, state, styles } from "./state.js";
import { titled } from "./shared/words.js";

const THUMB = 160; // pixels

const tiles = new Map(); // by id: {element, input, image}
let painted = new Map(); // by id: address of the photograph in this style
let share = null; // the slider of a blend

const chosen = (id) => state.styles.some((one) => one.id === id);

// ---------------------------------------- grid

const add = button("Add a painting", () => $("style-file").click(), { look: "tile add" });
add.replaceChildren(h("span", { class: "square" }, icon("plus")), h("span", { class: "name", text: "Add a painting" }));

function tile(style) {
  const input = h("input", { type: "radio", class: "unseen", name: "style", value: style.id, on: { change: () => choose(style.id) } });
  const image = h("img", { alt: "", width: THUMB, height: THUMB, draggable: "false", src: style.picture });
  const element = h("label", { class: "tile", title: style.title }, input, image, h("bdi", { class: "name", text: style.name }));
  return { element, input, image };
}

function draw() {
  for (const [id, { element }] of tiles) {
    if (styles.has(id)) continue;
    element.remove();
    tiles.delete(id);
  }
  for (const style of styles.values()) {
    if (tiles.has(style.id)) continue;
    tiles.set(style.id, tile(style));
    $("style-grid").insertBefore(tiles.get(style.id).element, add);
  }
  mark();
}

/** Show which are chosen. */
function mark() {
  for (const { input } of tiles.values()) input.type = state.blend ? "checkbox" : "radio"; // first: a new radio button unchecks others
  for (const [id, { input }] of tiles) input.checked = chosen(id);
  $("style-grid").setAttribute("role", state.blend ? "group" : "radiogroup");
  drawBlend();
  drawOwn();
}

function choose(id) {
  if (!state.blend) return change("styles", { styles: [{ id, weight: 1 }] });
  const rest = state.styles.filter((one) => one.id !== id);
  if (!tiles.get(id).input.checked) {
    if (!rest.length) {
      mark(); // a picture needs one
      return say("At least one style is needed.");
    }
    return change("styles", { styles: [{ ...rest[0], weight: 1 }] });
  }
  return change("styles", { styles: [rest.at(-1), { id, weight: 0.5 }].filter(Boolean).map((one, _, { length }) => ({ ...one, weight: 1 / length })) });
}

// ---------------------------------------- blend

function toggleBlend() {
  const blend = $("blend-on").checked;
  const [first, second] = state.styles;
  const heaviest = second && second.weight > first.weight ? second : first;
  state.blend = blend;
  change("styles", { styles: blend ? state.styles : [{ id: heaviest.id, weight: 1 }] });
  if (blend) say("Choose a second style.");
}

function drawBlend() {
  const box = $("blend");
  const ids = state.styles.map(({ id }) => id).join();
  box.hidden = !state.blend;
  if (box.dataset.ids !== ids) {
    box.dataset.ids = ids;
    share = null;
    const [first, second] = state.styles;
    if (second) {
      share = slider("share", "Blend", {
        ...{ min: 0, max: 1, step: 0.01, ends: [nameOf(first.id), nameOf(second.id)] },
        shown: (weight) => `${Math.round(100 * (1 - weight))} : ${Math.round(100 * weight)}`,
        get: () => state.styles[1]?.weight ?? 0,
        set: (weight) => change("styles", { styles: [{ id: first.id, weight: 1 - weight }, { id: second.id, weight }] }),
      });
      box.replaceChildren(share.element);
    } else box.replaceChildren(h("p", { class: "soft small", text: "Choose a second style." }));
  }
  share?.update();
}

// ---------------------------------------- own paintings

function drawOwn() {
  const list = $("own-styles");
  const mine = state.styles.map(({ id }) => styles.get(id)).filter((style) => style?.own);
  const held = list.contains(document.activeElement);
  list.replaceChildren(
    ...mine.map((style) => {
      const row = h("li", {}, h("bdi", { class: "grow", text: style.name }));
      row.append(button("Delete", () => act(row, $("styles-problem"), () => drop(style)), { look: "small plain", label: `Delete ${style.name}` }));
      return row;
    }),
  );
  list.hidden = !mine.length;
  if (held) list.querySelector("button")?.focus();
}

async function drop(style) {
  if (!(await ask(`Delete the style “${style.name}”?`, "Delete the style"))) return;
  styles.delete(style.id);
  await kept.remove(style.id);
  const left = state.styles.filter(({ id }) => id !== style.id);
  change("styles", { styles: left.length ? left.map((one) => ({ ...one, weight: 1 })) : [{ id: styles.keys().next().value, weight: 1 }] });
  draw();
  add.focus();
  await forget(style.id);
}

const identity = () => `own-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;

function enter({ id, name, blob, thumbnail }) {
  styles.set(id, { id, name, title: name, own: true, blob, picture: URL.createObjectURL(thumbnail) });
}

/** Paintings become styles; the last one is chosen. */
export async function addPaintings(files) {
  const failures = [];
  let lasting = true;
  problem($("styles-problem"), null);
  add.setAttribute("aria-busy", "true");
  for (const file of files) {
    const name = (file.name || "A painting").replace(/\.\w{1,5}$/, "");
    try {
      const painting = { id: identity(), name, blob: file, added: Date.now() };
      painting.thumbnail = (await together(() => teach(painting))).thumbnail;
      lasting = (await kept.put(painting)) && lasting;
      enter(painting);
      draw();
      tiles.get(painting.id).input.checked = true;
      choose(painting.id);
      say(`${name} is a style now.`);
    } catch (error) {
      if (!(error instanceof Cancelled)) failures.push(`${file.name || "The painting"}: ${error.message}`);
    }
  }
  add.removeAttribute("aria-busy");
  if (!lasting) failures.push("This browser does not keep files, so the painting is here for this visit only.");
  if (failures.length) problem($("styles-problem"), failures.join(" "));
  paintThumbs();
}

// ---------------------------------------- thumbnails

let painting = false;

/** Paint the photograph in every style, one after the other, while nothing else is painted. */
async function paintThumbs() {
  if (painting) return;
  painting = true;
  const refused = new Set();
  for (;;) {
    await idle();
    const style = [...styles.values()].find(({ id }) => !painted.has(id) && !refused.has(id));
    const { photo } = state;
    if (!style || !photo) break;
    const signal = interrupted();
    try {
      await teachAll([style]);
      await sendPhoto();
      const options = { size: THUMB, strength: 0.5, scale: 1 };
      const { blob } = await call("paint", { styles: [{ id: style.id, weight: 1 }], options, levels: false }, { signal });
      if (state.photo !== photo || !tiles.has(style.id)) continue;
      painted.set(style.id, URL.createObjectURL(blob));
      tiles.get(style.id).image.src = painted.get(style.id);
    } catch (error) {
      if (!(error instanceof Cancelled)) refused.add(style.id); // the tile keeps its picture
    }
  }
  painting = false;
}

/** A signal that a change of anything that is painted gives. */
function interrupted() {
  thumb = new AbortController();
  return thumb.signal;
}
let thumb = null;

function newPhoto() {
  for (const address of painted.values()) URL.revokeObjectURL(address);
  painted = new Map();
  paintThumbs();
}

// ---------------------------------------- start

export async function startStyles() {
  const answer = await fetch(new URL("styles/styles.json", import.meta.url));
  for (const { name, title, source } of await answer.json()) {
    styles.set(name, { id: name, name: titled(name), title: `${title}. ${source}`, own: false, picture: `thumbnails/${name}.jpg` });
  }
  for (const one of await kept.all()) enter(one);
  restore();
  $("style-grid").append(add);
  $("blend-on").checked = state.blend;
  $("blend-on").addEventListener("change", toggleBlend);
  for (const name of ["photo", "styles", "options", "camera"]) editor.on(name, () => thumb?.abort());
  editor.on("styles", mark);
  editor.on("photo", newPhoto);
  draw();
}
