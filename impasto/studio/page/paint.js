// Paint: post a job, and follow it on the stage.

import { at } from "./api.js";
import { $, act, button, h, say } from "./shared/dom.js";
import { controls } from "./controls.js";
import { blame, unblame } from "./dials.js";
import { stage } from "./easel.js";
import { changes, create, isOpen, jobs } from "./jobs.js";
import { change, editor, masks, state, usable } from "./state.js";
import { again, downloads, openViewer } from "./viewer.js";
import { photoName, status, title } from "./words.js";

const VIEW = 1600; // pixels of a result on the stage
const narrow = matchMedia("(max-width: 56rem)");
const line = h("progress", { class: "thin", max: 1, "aria-hidden": "true", hidden: true }); // at the picture's edge, in sight on a phone

async function post(job, pressed) {
  unblame();
  await act(pressed, $("paint-problem"), async () => {
    let made;
    try {
      made = await create(job);
    } catch (error) {
      if (blame(error)) return;
      throw error;
    }
    const submitted = [...new Set([...state.submitted, ...job.masks.map((one) => one.mask)])].slice(-200);
    change("shown", { job: made.id, shown: "job", submitted });
    say(`${title(made)} is in the queue.`);
    if (narrow.matches) $("now").scrollIntoView({ block: "nearest" });
  });
}

async function paint({ currentTarget: pressed }) {
  if (state.regions.length && !(await (await import("./regions.js")).stored())) return;
  const { photo, styles, film } = state;
  const kind = photo.clip ? { kind: "video", video: film } : { kind: "paint" };
  post({ ...kind, photo: photo.id, styles, masks: masks(), options: usable() }, pressed);
}

function sheet(event) {
  const { strength, style_scale } = state.options;
  post({ kind: "sheet", photo: state.photo.id, styles: [], masks: [], options: { strength, style_scale } }, event.currentTarget);
}

// ---------------------------------------- the job's card

let card = null; // {id, parts}

function build(job) {
  const name = h("h3", { id: "now-title" });
  const text = h("p", { class: "soft small" });
  const bar = h("progress", { max: 1, "aria-labelledby": "now-title" });
  const error = h("p", { class: "problem", role: "alert", hidden: true });
  const buttons = controls(job, error);
  const toggle = button("", () => change("shown", { shown: state.shown === "job" ? "instant" : "job" }), { look: "small" });
  const reuse = button("Again with changes", (event) => act(event.currentTarget, error, () => again(jobs.get(job.id))), { look: "small" });
  const play = job.kind === "video" ? [button("Play", () => openViewer(jobs.get(job.id)), { look: "small", image: "play" })] : [];
  const ready = h("span", { class: "ready" }, ...play, ...downloads(job), button("How it was made", () => openViewer(jobs.get(job.id), { record: true }), { look: "small" }), reuse);
  const away = button("Hide", hide, { look: "small plain" });
  $("now").replaceChildren(name, text, bar, h("div", { class: "line wrap" }, ...buttons.elements, toggle, ready, away), error);
  return { name, text, bar, buttons, toggle, ready, away };
}

function hide() {
  change("shown", { job: null, shown: "instant" });
  $("paint-button").focus({ preventScroll: true });
}

function drawCard() {
  const job = state.job && jobs.get(state.job);
  $("now").hidden = !job;
  line.hidden = !(job && isOpen(job));
  if (!job) {
    card = null;
    return;
  }
  if (card?.id !== job.id) card = { id: job.id, parts: build(job), said: -1 };
  const { name, text, bar, buttons, toggle, ready, away } = card.parts;
  name.textContent = title(job);
  text.textContent = status(job);
  text.classList.toggle("bad", ["failed", "held"].includes(job.state));
  bar.hidden = !isOpen(job);
  bar.value = line.value = job.done;
  buttons.update(job);
  toggle.hidden = !(job.preview || job.result);
  toggle.textContent = state.shown === "job" ? "Show the instant preview" : job.result ? "Show the painting" : "Show it in progress";
  ready.hidden = !job.result;
  away.hidden = isOpen(job);
  const tenth = Math.floor(job.done * 10);
  if (job.state === "running" && tenth > card.said) {
    if (tenth > 0) say(`${title(job)}: ${status(job)}`);
    card.said = tenth;
  }
}

/** The job's newest picture on the stage. */
function drawPicture() {
  const { photo, shown } = state;
  const job = shown === "job" ? jobs.get(state.job) : null;
  const here = $("showing");
  stage.box.classList.toggle("frames", Boolean(job?.video));
  if (!photo) return;
  if (!job) {
    stage.size(photo.width, photo.height);
    if (sheetShown) {
      sheetShown = false;
      stage.show(0, at.image(photo.id, VIEW), photoName(photo));
    }
    here.textContent = stage.images[1].hidden ? "Photograph" : "Instant preview";
    return;
  }
  const address = job.result ? at.result(job, { size: VIEW }) : job.preview ? at.preview(job) : "";
  if (address) stage.show(1, address, `${title(job)}, ${job.result ? "painted" : "in progress"}`);
  if (job.kind === "sheet" && job.result) {
    stage.size(job.result.width, job.result.height);
    stage.show(0, "");
    sheetShown = true;
  }
  here.textContent = job.result ? (job.whole ? "Painted" : "Best so far") : job.preview ? (isOpen(job) ? "Painting" : "Last preview") : stage.images[1].hidden ? "Photograph" : "Instant preview";
}
let sheetShown = false;

function drawButton() {
  const ready = Boolean(state.photo) && (state.styles.length > 0 || masks().length > 0);
  $("paint-button").disabled = !ready;
  $("sheet-button").disabled = !state.photo;
  $("paint-hint").textContent = state.photo ? "" : "Choose a photograph or a clip first.";
  $("paint-hint").hidden = Boolean(state.photo);
}

function draw() {
  drawCard();
  drawPicture();
}

export function startPaint() {
  stage.box.append(line);
  $("paint-button").addEventListener("click", paint);
  $("sheet-button").addEventListener("click", sheet);
  for (const name of ["photo", "styles", "regions"]) editor.on(name, drawButton);
  for (const name of ["photo", "shown", "painted"]) editor.on(name, draw);
  changes.on("job", ({ job }) => job.id === state.job && draw());
  changes.on("removed", (id) => id === state.job && change("shown", { job: null, shown: "instant" }));
  drawButton();
  draw();
}
