// Regions: parts of the photograph brushed by hand, each with a style of its own or kept as it is.
// A region's canvas is white where the region is and transparent elsewhere; it is uploaded as white on black.

import { api, at, upload } from "./api.js";
import { $, button, clamp, h, problem, say } from "./shared/dom.js";
import { stage } from "./easel.js";
import { change, editor, state, styles } from "./state.js";
import { nameOf } from "./styles.js";

const LONGER = 1024; // pixels of a mask
const TINTS = ["#ff5d8f", "#22a7f0", "#f2b705", "#21b573", "#a36bf2", "#ff8a3c"];
const UNDO = 12;
const MOST = 6;
const PAUSE = 400; // milliseconds after a stroke until it is uploaded
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const drawn = new Map(); // by id: {canvas, undo, timer, version}
let editing = null; // id of the region under the brush
let tool = "brush"; // or "rectangle"
let erase = false;
let radius = 0.06; // of the longer side
let cursor = null; // {x, y} in mask pixels
let keyboard = false; // whether the cursor was moved by keys
let pen = false; // down, by the keyboard
let corner = null; // first corner of a rectangle
let stroke = null; // last point of the stroke in progress
let frame = 0;

const overlay = h("canvas", { class: "brush", tabindex: 0, role: "application", hidden: true });
const label = (index) => `Region ${index + 1}`;
const indexOf = (id) => state.regions.findIndex((one) => one.id === id);
const newId = () => crypto.getRandomValues(new Uint32Array(2)).join("-");

// ---------------------------------------- canvases

function blankCanvas() {
  const { width, height } = state.photo;
  const scale = Math.min(1, LONGER / Math.max(width, height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  });
  canvas.getContext("2d", { willReadFrequently: true });
  return canvas;
}

function layer(id) {
  if (!drawn.has(id)) drawn.set(id, { canvas: blankCanvas(), undo: [], timer: 0, version: 0 });
  return drawn.get(id);
}

/** Read a stored mask back into its canvas. */
async function load(region) {
  const mine = layer(region.id);
  const image = new Image();
  image.src = at.image(region.mask, LONGER);
  try {
    await image.decode();
  } catch {
    return;
  }
  if (mine.version) return; // it was changed meanwhile
  const context = mine.canvas.getContext("2d");
  context.drawImage(image, 0, 0, mine.canvas.width, mine.canvas.height);
  const pixels = context.getImageData(0, 0, mine.canvas.width, mine.canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at];
    pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = 255;
  }
  context.putImageData(pixels, 0, 0);
  redraw();
}

function isEmpty(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 3; at < data.length; at += 4) if (data[at] > 7) return false;
  return true;
}

const copy = (canvas) => {
  const other = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  other.getContext("2d").drawImage(canvas, 0, 0);
  return other;
};

/** Remember the region as it is, before it changes. */
function remember() {
  const { canvas, undo } = layer(editing);
  undo.push(copy(canvas));
  if (undo.length > UNDO) undo.shift();
}

/** After a change: show it, and upload it soon. */
function changed(id = editing) {
  const mine = layer(id);
  mine.version++;
  redraw();
  drawTools();
  clearTimeout(mine.timer);
  mine.timer = setTimeout(begin, PAUSE, id);
}

function begin(id) {
  const mine = layer(id);
  mine.timer = 0;
  mine.stored = store(id);
}

/** Wait until what was brushed is uploaded. Returns whether all of it is. */
export async function stored() {
  for (const [id, mine] of drawn) {
    if (!mine.timer) continue;
    clearTimeout(mine.timer);
    begin(id);
  }
  return (await Promise.all([...drawn.values()].map((one) => one.stored))).every((fine) => fine !== false);
}

/** Returns false where it failed, and the region says why. */
async function store(id) {
  const mine = layer(id);
  const version = mine.version;
  let mask = null;
  try {
    if (!isEmpty(mine.canvas)) {
      const page = Object.assign(document.createElement("canvas"), { width: mine.canvas.width, height: mine.canvas.height });
      const context = page.getContext("2d");
      context.fillStyle = "#000";
      context.fillRect(0, 0, page.width, page.height);
      context.drawImage(mine.canvas, 0, 0);
      const blob = await new Promise((done) => page.toBlob(done, "image/png"));
      mask = (await upload("images", blob, "region.png")).id;
    }
    problem($("regions-problem"), null);
  } catch (error) {
    problem($("regions-problem"), error);
    return false;
  }
  const old = state.regions.find((one) => one.id === id);
  if (version !== mine.version || !old) {
    if (mask) discard(mask);
    return true;
  }
  if (old.mask) discard(old.mask);
  change("regions", { regions: state.regions.map((one) => (one.id === id ? { ...one, mask } : one)) });
  return true;
}

/** A mask that no job was given is not needed any more. */
function discard(mask) {
  if (!state.submitted.includes(mask)) api.dropImage(mask).catch(() => {}); // 409: a job of another page has it
}

// ---------------------------------------- drawing

const reach = () => radius * Math.max(overlayBase().width, overlayBase().height);
const overlayBase = () => layer(editing).canvas;

function paintLine(from, to) {
  const context = overlayBase().getContext("2d");
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * reach();
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x + 0.01, to.y);
  context.stroke();
  context.globalCompositeOperation = "source-over";
}

function paintRectangle(a, b) {
  const context = overlayBase().getContext("2d");
  const area = [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
  context.fillStyle = "#fff";
  if (erase) context.clearRect(...area);
  else context.fillRect(...area);
}

function fill(composite) {
  remember();
  const canvas = overlayBase();
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = composite;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  changed();
}

function undo() {
  const mine = layer(editing);
  const before = mine.undo.pop();
  if (!before) return;
  const context = mine.canvas.getContext("2d");
  context.clearRect(0, 0, mine.canvas.width, mine.canvas.height);
  context.drawImage(before, 0, 0);
  changed();
}

function redraw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (editing && state.photo) drawOverlay();
  });
}

function drawOverlay() {
  const area = stage.box.getBoundingClientRect();
  const density = Math.min(2, window.devicePixelRatio);
  overlay.width = Math.max(1, Math.round(area.width * density));
  overlay.height = Math.max(1, Math.round(area.height * density));
  const context = overlay.getContext("2d");
  state.regions.forEach((region, index) => {
    const tinted = copy(layer(region.id).canvas);
    const paint = tinted.getContext("2d");
    paint.globalCompositeOperation = "source-in";
    paint.fillStyle = TINTS[index % TINTS.length];
    paint.fillRect(0, 0, tinted.width, tinted.height);
    context.globalAlpha = region.id === editing ? 0.62 : 0.28;
    context.drawImage(tinted, 0, 0, overlay.width, overlay.height);
  });
  context.globalAlpha = 1;
  if (!cursor) return;
  const scale = overlay.width / overlayBase().width;
  const [x, y] = [cursor.x * scale, cursor.y * scale];
  for (const [color, width] of [["#000a", 4 * density], ["#fff", 1.6 * density]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    if (tool === "brush") context.arc(x, y, Math.max(2, reach() * scale), 0, 2 * Math.PI);
    else if (corner) context.rect(corner.x * scale, corner.y * scale, x - corner.x * scale, y - corner.y * scale);
    if (keyboard || tool === "rectangle") {
      context.moveTo(x - 9 * density, y);
      context.lineTo(x + 9 * density, y);
      context.moveTo(x, y - 9 * density);
      context.lineTo(x, y + 9 * density);
    }
    context.stroke();
  }
}

// ---------------------------------------- pointer, keyboard

function where(event) {
  const area = overlay.getBoundingClientRect();
  const { width, height } = overlayBase();
  return { x: clamp(((event.clientX - area.left) / area.width) * width, 0, width), y: clamp(((event.clientY - area.top) / area.height) * height, 0, height) };
}

overlay.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !editing) return;
  overlay.setPointerCapture(event.pointerId);
  overlay.focus({ preventScroll: true });
  event.preventDefault();
  keyboard = pen = false;
  cursor = where(event);
  if (tool === "rectangle") corner = cursor;
  else {
    remember();
    stroke = cursor;
    paintLine(stroke, stroke);
  }
  redraw();
});
overlay.addEventListener("pointermove", (event) => {
  if (!editing) return;
  const points = event.getCoalescedEvents?.() || [];
  for (const one of points.length ? points : [event]) {
    cursor = where(one);
    if (stroke) {
      paintLine(stroke, cursor);
      stroke = cursor;
    }
  }
  keyboard = false;
  redraw();
});
for (const type of ["pointerup", "pointercancel"]) {
  overlay.addEventListener(type, () => {
    if (!editing) return;
    if (stroke) changed();
    else if (corner && !keyboard) {
      remember();
      paintRectangle(corner, cursor);
      corner = null;
      changed();
    }
    stroke = null;
  });
}
overlay.addEventListener("pointerleave", () => {
  if (stroke || corner || keyboard) return;
  cursor = null;
  redraw();
});
overlay.addEventListener("blur", () => {
  pen = false;
  if (keyboard) cursor = corner = null;
  redraw();
});
overlay.addEventListener("focus", () => {
  if (!overlay.matches(":focus-visible") || !editing) return;
  keyboard = true;
  cursor ||= { x: overlayBase().width / 2, y: overlayBase().height / 2 };
  redraw();
});

overlay.addEventListener("keydown", (event) => {
  if (!editing) return;
  const { width, height } = overlayBase();
  if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (event.key in ARROWS) {
    const from = cursor || { x: width / 2, y: height / 2 };
    const [right, down] = ARROWS[event.key];
    const step = Math.max(width, height) * (event.shiftKey ? 0.08 : 0.016);
    keyboard = true;
    cursor = { x: clamp(from.x + right * step, 0, width), y: clamp(from.y + down * step, 0, height) };
    if (pen) {
      paintLine(from, cursor);
      changed();
    }
  } else if (event.key === " " || event.key === "Enter") press();
  else if (event.key in SHORTCUTS) SHORTCUTS[event.key]();
  else if (event.key === "[" || event.key === "]") setRadius(radius * (event.key === "[" ? 0.8 : 1.25));
  else if (event.key === "Escape" && (pen || corner)) {
    pen = false;
    corner = null;
  } else if (event.key === "Escape") finish();
  else return;
  event.preventDefault();
  event.stopPropagation();
  redraw();
});

const other = (name) => {
  const radio = tools.querySelector(`[name="brush-${name}"]:not(:checked)`);
  radio.click();
  say(`${radio.nextSibling.textContent}.`);
};
const SHORTCUTS = { e: () => other("mode"), r: () => other("tool"), a: () => fill("source-over"), i: () => fill("xor") };

function press() {
  keyboard = true;
  cursor ||= { x: overlayBase().width / 2, y: overlayBase().height / 2 };
  if (tool === "rectangle" && !corner) {
    corner = cursor;
    return say("First corner set. Move to the opposite corner and press Enter.");
  }
  if (tool === "rectangle") {
    remember();
    paintRectangle(corner, cursor);
    corner = null;
    changed();
    return say(erase ? "Rectangle erased." : "Rectangle filled.");
  }
  pen = !pen;
  if (pen) {
    remember();
    paintLine(cursor, cursor);
    changed();
  }
  say(pen ? "Brush down." : "Brush up.");
}

// ---------------------------------------- controls

const size = h("input", { type: "range", id: "brush-size", min: 0.01, max: 0.25, step: 0.005 });
const undoButton = button("Undo", undo, { look: "small" });
const tools = h(
  "div",
  { class: "brush-tools" },
  segments("Tool", "tool", [["brush", "Brush"], ["rectangle", "Rectangle"]], (value) => {
    tool = value;
    corner = null;
    pen = false;
  }),
  segments("Mode", "mode", [["add", "Add"], ["erase", "Erase"]], (value) => (erase = value === "erase")),
  h("label", { class: "line", for: "brush-size" }, h("span", { text: "Size" }), size),
  h(
    "div",
    { class: "line wrap" },
    undoButton,
    button("All", () => fill("source-over"), { look: "small" }),
    button("Invert", () => fill("xor"), { look: "small" }),
    button("Clear", () => fill("destination-out"), { look: "small" }),
    button("Done", () => finish(), { look: "small primary" }),
  ),
  h("p", { class: "soft small for-keys", text: "By keyboard: on the picture, arrow keys move the brush, Enter puts it down and lifts it, [ and ] change its size; R rectangle, E erase, A all, I invert." }),
);

function segments(legend, name, values, set) {
  const radios = values.map(([value, text], index) =>
    h("label", {}, h("input", { type: "radio", class: "unseen", name: `brush-${name}`, value, checked: !index, on: { change: () => set(value) } }), h("span", { text })),
  );
  return h("fieldset", { class: "choice" }, h("legend", { class: "unseen", text: legend }), h("div", { class: "segments" }, ...radios));
}

function setRadius(value) {
  radius = clamp(value, 0.01, 0.25);
  size.value = radius;
  size.setAttribute("aria-valuetext", `${Math.round(200 * radius)} % of the picture`);
  redraw();
}

function drawTools() {
  undoButton.disabled = !editing || !layer(editing).undo.length;
}

function edit(id) {
  editing = id;
  cursor = corner = stroke = null;
  pen = false;
  stage.busy = true;
  stage.box.classList.add("editing");
  overlay.hidden = false;
  overlay.setAttribute("aria-label", `${label(indexOf(id))}: brush on the photograph. Arrow keys move, Enter puts the brush down and lifts it, R switches to rectangles, E to erasing, A selects all, I inverts, Escape ends.`);
  list();
  drawTools();
  redraw();
}

function finish() {
  const id = editing;
  editing = null;
  stage.busy = false;
  stage.box.classList.remove("editing");
  overlay.hidden = true;
  list();
  if (id) document.querySelector(`[data-region="${CSS.escape(id)}"] .edit`)?.focus();
}

function addRegion() {
  const id = newId();
  const style = [...styles.keys()].find((one) => !state.styles.some((chosen) => chosen.id === one)) || "keep";
  change("regions", { regions: [...state.regions, { id, mask: null, style: state.regions.length ? style : "keep" }] });
  edit(id);
  overlay.focus({ preventScroll: true });
}

function removeRegion(id) {
  const gone = state.regions.find((one) => one.id === id);
  if (editing === id) finish();
  clearTimeout(drawn.get(id)?.timer);
  drawn.delete(id);
  if (gone?.mask) discard(gone.mask);
  change("regions", { regions: state.regions.filter((one) => one.id !== id) });
  $("add-region").focus();
}

function row(region, index) {
  const select = h("select", { "aria-label": `Style of ${label(index)}` });
  select.append(h("option", { value: "keep", text: "Keep the photograph" }), ...[...styles.keys()].map((id) => h("option", { value: id, text: nameOf(id) })));
  select.value = region.style;
  select.addEventListener("change", () => {
    change("regions", { regions: state.regions.map((one) => (one.id === region.id ? { ...one, style: select.value } : one)) });
  });
  const swatch = h("span", { class: "swatch" });
  swatch.style.background = TINTS[index % TINTS.length];
  const mine = editing === region.id;
  return h(
    "li",
    { data: { region: region.id } },
    h(
      "div",
      { class: "line" },
      swatch,
      h("span", { class: "unseen", text: label(index) }),
      select,
      button("Edit", () => (editing === region.id ? finish() : edit(region.id)), { look: "small edit", label: `Edit ${label(index)}` }),
      button("", () => removeRegion(region.id), { look: "plain round", image: "trash", label: `Delete ${label(index)}` }),
    ),
    mine ? tools : null,
  );
}

/** Draw the list; the element with the focus keeps it. */
function list() {
  const focused = document.activeElement;
  const inside = $("region-list").contains(focused);
  const where = inside ? [focused.closest("[data-region]")?.dataset.region, focused.tagName, focused.className] : null;
  const kept = tools.contains(focused) ? focused : null;
  $("region-list").replaceChildren(...state.regions.map(row));
  for (const edit of $("region-list").querySelectorAll(".edit")) edit.setAttribute("aria-pressed", String(edit.closest("li").dataset.region === editing));
  $("add-region").disabled = !state.photo || state.regions.length >= MOST;
  $("regions-hint").hidden = state.regions.length > 0;
  if (kept && document.contains(kept)) kept.focus();
  else if (where?.[0]) {
    const same = [...$("region-list").querySelectorAll(`[data-region="${CSS.escape(where[0])}"] ${where[1]}`)];
    same.find((one) => one.className === where[2])?.focus();
  }
}

let shape = "";

function sync() {
  for (const id of [...drawn.keys()]) if (indexOf(id) < 0) drawn.delete(id);
  if (editing && indexOf(editing) < 0) finish();
  if (state.photo) for (const region of state.regions) if (region.mask && !drawn.has(region.id)) load(region);
  const now = JSON.stringify([state.regions.map(({ id, style }) => [id, style]), Boolean(state.photo)]);
  if (now !== shape) {
    shape = now;
    list();
  }
  redraw();
}

export function startRegions() {
  stage.box.append(overlay);
  $("add-region").addEventListener("click", addRegion);
  size.addEventListener("input", () => setRadius(Number(size.value)));
  setRadius(radius);
  editor.on("regions", sync);
  editor.on("photo", sync);
  editor.on("style-list", list);
  window.addEventListener("resize", redraw);
  sync();
}

