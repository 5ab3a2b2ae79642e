// The instant picture. It follows the dials: one request at a time, the newest state next, and never a queue of stale ones.

import { api } from "./api.js";
import { $, problem, wait } from "./shared/dom.js";
import { stage } from "./easel.js";
import { change, editor, masks, state, usable } from "./state.js";

const QUICK = 512; // pixels of the longer side while dials move
const REFINED = 1024; // at most, once they rest
const BUDGET = 1500; // milliseconds that the larger one may take: a dial that moves meanwhile waits for it
const REST = 450; // milliseconds without a change until the larger one is made
const SHOW_WORKING = 250; // a quick answer never shows that it is being waited for

let wanted = null; // the request to send next
let running = false;
let resting = 0;
let took = Infinity; // milliseconds for a quick one, lately
let onStage = { look: "", size: 0 }; // what the stage shows
const idlers = [];

/** All of a request but the size. */
const look = (asked) => JSON.stringify({ ...asked, options: { ...asked.options, size: 0 } });

/** What would be asked for now, or null. */
function request(size) {
  const { photo, styles } = state;
  const options = usable();
  if (!photo || !(styles.length || masks().length) || state.shown !== "instant") return null;
  const full = options.size === "original" ? Math.max(photo.width, photo.height) : options.size;
  const { strength, style_scale, keep_colors } = options;
  return { photo: photo.id, styles, options: { size: Math.min(size, full), strength, style_scale, keep_colors }, masks: masks(), stream: "dials" };
}

function update() {
  clearTimeout(resting);
  wanted = request(QUICK);
  if (wanted && !running && look(wanted) === onStage.look) {
    wanted = null; // only the size was changed
    refine();
  }
  if (wanted) run();
  else settle();
}

function settle() {
  if (running || wanted) return;
  for (const done of idlers.splice(0)) done();
}

/** Resolves when the dials need nothing: thumbnails are painted in between. */
export const idle = () => (running || wanted ? new Promise((done) => idlers.push(done)) : Promise.resolve());

function working(on) {
  $("working").hidden = !on;
}

async function run() {
  if (running) return;
  running = true;
  const late = setTimeout(working, SHOW_WORKING, true);
  while (wanted) {
    const mine = wanted;
    wanted = null;
    const began = performance.now();
    try {
      const blob = await api.instant(mine);
      if (mine.options.size === QUICK) took = performance.now() - began;
      problem($("instant-problem"), null);
      if (state.shown === "instant" && state.photo?.id === mine.photo) {
        await stage.showBlob(1, blob, "The photograph in the chosen style, instant preview");
        onStage = { look: look(mine), size: mine.options.size };
        editor.emit("painted");
      }
      refine();
    } catch (error) {
      const superseded = error.status === 409; // by another tab, since this one sends nothing meanwhile
      problem($("instant-problem"), superseded || error.status === 401 ? null : error);
      if (superseded || [429, 503, 0].includes(error.status)) {
        await wait(1000 * (error.retry || (superseded ? 0.5 : 2)));
        wanted ||= request(QUICK);
      }
    }
  }
  clearTimeout(late);
  working(false);
  running = false;
  settle();
}

/** After a rest, once more at a size nearer to the result's: strokes look different there. */
function refine() {
  clearTimeout(resting);
  if (wanted || state.shown !== "instant") return;
  const finer = request(Math.min(REFINED, 64 * Math.round((QUICK * Math.sqrt(BUDGET / took)) / 64)));
  const next = finer?.options.size >= 1.2 * QUICK ? finer : request(QUICK);
  if (!next || (look(next) === onStage.look && next.options.size === onStage.size)) return;
  resting = setTimeout(() => {
    wanted ||= next;
    run();
  }, REST);
}

/** The dials were moved: back to the instant picture from that of a job. */
function moved() {
  if (state.shown !== "instant") change("shown", { shown: "instant" });
  update();
}

export function startInstant() {
  for (const name of ["styles", "options", "regions"]) editor.on(name, moved);
  for (const name of ["photo", "shown", "tuned"]) {
    editor.on(name, () => {
      onStage = { look: "", size: 0 };
      update();
    });
  }
}
