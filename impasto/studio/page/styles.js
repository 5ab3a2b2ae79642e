// The styles: a grid to choose from, thumbnails of the photograph in each, own paintings.

import { api, at, server, upload } from "./api.js";
import { $, act, ask, button, h, icon, problem, say, wait } from "./shared/dom.js";
import { idle } from "./instant.js";
import { changes, isOpen, jobs, learn } from "./jobs.js";
import { balanced, change, editor, state, styles } from "./state.js";
import { styleName } from "./words.js";

const MOST = 4; // styles in a blend
const THUMB = 160;

const tiles = new Map(); // by id: {element, input, image, name}
const thumbs = new Map(); // "photo/style/tuned": address of a blob
const visible = new Set(); // ids of tiles on the screen

const own = (style) => style.kind !== "built-in";
const chosen = (id) => state.styles.some((one) => one.id === id);
export const nameOf = (id) => (styles.has(id) ? styleName(styles.get(id)) : "a style that was deleted");
const key = (style) => `${state.photo?.id}/${style.id}/${style.tuned}`;

/** The best picture of a style: the photograph painted in it, or the painting. */
export const pictureOf = (id) => thumbs.get(key(styles.get(id) || { id })) || at.style(id, THUMB);

// ---------------------------------------- grid

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) visible[entry.isIntersecting ? "add" : "delete"](entry.target.dataset.style);
});

function tile(style) {
  const input = h("input", { type: state.blend ? "checkbox" : "radio", class: "unseen", name: "style", value: style.id });
  input.addEventListener("change", () => choose(style.id, input));
  const image = h("img", { alt: "", width: THUMB, height: THUMB, draggable: "false", src: at.style(style.id, THUMB) });
  const name = h("bdi", { class: "name", text: styleName(style) });
  const element = h("label", { class: "tile", data: { style: style.id } }, input, image, name);
  watcher.observe(element);
  return { element, input, image, name };
}

function draw() {
  const grid = $("style-grid");
  for (const [id, { element }] of tiles) {
    if (styles.has(id)) continue;
    watcher.unobserve(element);
    element.remove();
    tiles.delete(id);
    visible.delete(id);
  }
  for (const style of styles.values()) {
    const known = tiles.get(style.id);
    if (known) known.name.textContent = styleName(style);
    else tiles.set(style.id, tile(style));
    if (!known) grid.insertBefore(tiles.get(style.id).element, add);
  }
  mark();
  paintThumbs();
}

/** Show which are chosen. */
function mark() {
  const full = state.blend && state.styles.length >= MOST;
  for (const { input } of tiles.values()) input.type = state.blend ? "checkbox" : "radio"; // first: a new radio button unchecks others
  for (const [id, { input, element }] of tiles) {
    input.checked = chosen(id);
    input.disabled = full && !input.checked;
    element.title = input.disabled ? `At most ${MOST} styles can be blended.` : nameOf(id);
  }
  $("style-grid").setAttribute("role", state.blend ? "group" : "radiogroup");
  drawOwn();
}

function choose(id, input) {
  if (!state.blend) return change("styles", { styles: [{ id, weight: 1 }] });
  if (!input.checked && state.styles.length === 1) {
    input.checked = true; // a picture needs one
    return say("At least one style is needed.");
  }
  const rest = balanced(state.styles.filter((one) => one.id !== id));
  if (!input.checked) return change("styles", { styles: rest });
  const share = 1 / (rest.length + 1);
  return change("styles", { styles: [...rest.map((one) => ({ ...one, weight: one.weight * (1 - share) })), { id, weight: share }] });
}

function toggleBlend() {
  const blend = $("blend-on").checked;
  const best = state.styles.reduce((most, one) => (one.weight > (most?.weight ?? -1) ? one : most), null);
  change("blend", { blend });
  if (!blend && state.styles.length > 1) change("styles", { styles: [{ id: best.id, weight: 1 }] });
  else mark();
}

// ---------------------------------------- own paintings

const add = button("Add a painting", () => $("style-file").click(), { look: "tile add" });
add.replaceChildren(h("span", { class: "square" }, icon("plus")), h("span", { class: "name", text: "Add a painting" }));

function drawOwn() {
  const list = $("own-styles");
  const mine = state.styles.map(({ id }) => styles.get(id)).filter((style) => style && own(style));
  const held = list.contains(document.activeElement);
  list.replaceChildren(
    ...mine.map((style) => {
      const row = h("li", {}, h("bdi", { class: "grow", text: styleName(style) }));
      const inWork = [...jobs.values()].some((job) => job.kind === "tune" && isOpen(job) && job.styles[0]?.id === style.id);
      if (style.tuned || inWork) row.append(h("span", { class: "soft", text: style.tuned ? "Tuned" : "Being tuned" }));
      else if (style.kind === "painting") row.append(button("Tune", () => act(row, $("styles-problem"), () => tune(style)), { look: "small", title: "Takes a minute or two. The instant picture gets closer to the painting." }));
      row.append(button("Delete", () => act(row, $("styles-problem"), () => drop(style)), { look: "small plain" }));
      return row;
    }),
  );
  list.hidden = !mine.length;
  if (held) list.querySelector("button")?.focus();
}

async function tune(style) {
  learn(await api.tune(style.id));
  say(`${styleName(style)} is being tuned; it is in the queue.`);
}

async function drop(style) {
  if (!(await ask(`Delete the style “${styleName(style)}”? Pictures painted in it stay.`, "Delete the style"))) return;
  await api.dropStyle(style.id).catch((error) => {
    if (error.status !== 404) throw error;
  });
  forget(style.id);
  add.focus();
}

function forget(id) {
  if (!styles.delete(id)) return;
  tidy();
  draw();
}

/** Paintings or style files become styles; the last one is chosen. */
export async function addStyles(files) {
  const failed = [];
  problem($("styles-problem"), null);
  add.setAttribute("aria-busy", "true");
  for (const file of files) {
    try {
      const style = await upload("styles", file, file.name || "pasted.png");
      styles.set(style.id, style);
      draw();
      choose(style.id, Object.assign(tiles.get(style.id).input, { checked: true }));
      say(`${styleName(style)} is a style now.`);
    } catch (error) {
      failed.push(error.message);
    }
  }
  add.removeAttribute("aria-busy");
  if (failed.length) problem($("styles-problem"), [...new Set(failed)].join(" "));
}

// ---------------------------------------- thumbnails

let painting = false;

/** Paint the photograph in every style, one after the other, those on the screen first. */
async function paintThumbs() {
  for (const [id, { image }] of tiles) if (image.getAttribute("src") !== pictureOf(id)) image.src = pictureOf(id);
  if (painting) return;
  painting = true;
  const refused = new Set();
  for (let failures = 0; failures < 4; ) {
    await idle();
    const missing = [...styles.values()].filter((style) => !thumbs.has(key(style)) && !refused.has(key(style)));
    const style = missing.find(({ id }) => visible.has(id)) || missing[0];
    const photo = state.photo?.id;
    if (!style || !photo) break;
    const mine = key(style);
    try {
      const options = { size: THUMB };
      const blob = await api.instant({ photo, styles: [{ id: style.id, weight: 1 }], options, masks: [], stream: `thumb-${style.id}` });
      if (state.photo?.id !== photo) continue;
      thumbs.set(mine, URL.createObjectURL(blob));
      if (tiles.has(style.id)) tiles.get(style.id).image.src = thumbs.get(mine);
    } catch (error) {
      failures++;
      if ([409, 429, 503, 0].includes(error.status)) await wait(1000 * (error.retry || 2));
      else refused.add(mine); // the painting's own picture stays
    }
  }
  painting = false;
}

function newPhoto() {
  for (const [name, address] of thumbs) {
    if (name.startsWith(`${state.photo?.id}/`)) continue;
    URL.revokeObjectURL(address);
    thumbs.delete(name);
  }
  paintThumbs();
}

// ---------------------------------------- start

/** Drop chosen styles that are gone, and choose one if there is none. */
function tidy() {
  const left = state.styles.filter(({ id }) => styles.has(id));
  if (!left.length && styles.size) left.push({ id: styles.keys().next().value, weight: 1 });
  const regions = state.regions.map((one) => (one.style === "keep" || styles.has(one.style) ? one : { ...one, style: "keep" }));
  if (regions.some((one, index) => one !== state.regions[index])) change("regions", { regions });
  if (left.some((one, index) => one !== state.styles[index]) || left.length !== state.styles.length) change("styles", { styles: balanced(left) });
  editor.emit("style-list");
}

export async function loadStyles() {
  const { styles: all } = await api.styles();
  styles.clear();
  for (const style of all) styles.set(style.id, style);
  tidy();
  draw();
}

export async function startStyles() {
  $("style-grid").append(add);
  $("blend-on").checked = state.blend;
  $("blend-on").addEventListener("change", toggleBlend);
  editor.on("styles", mark);
  editor.on("blend", () => ($("blend-on").checked = state.blend));
  editor.on("photo", newPhoto);
  changes.on("job", ({ job }) => job.kind === "tune" && drawOwn());
  server.on("style", (style) => {
    const better = style.tuned && styles.get(style.id)?.tuned === false;
    styles.set(style.id, style);
    tidy();
    draw();
    if (better && chosen(style.id)) editor.emit("tuned");
  });
  server.on("style-removed", ({ id }) => forget(id));
  await loadStyles();
}
