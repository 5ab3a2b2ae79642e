// Painting: always the newest state, one picture at a time. A change cancels what is being painted at its next level.

import { progress, stage } from "./easel.js";
import { Cancelled, OutOfMemory, call, computesOn, failed, generation, teach, together } from "./engine.js";
import { $, problem, say } from "./shared/dom.js";
import { SIZES, change, editor, state, styles } from "./state.js";
import { number } from "./shared/words.js";

let wanted = false;
let running = null; // the AbortController of the picture in progress
let sent = []; // [photograph, generation]: what the worker was given, and which worker
let photograph = null; // {blob, name}: the last one that could be read
let newest = null; // the last one that was taken
const idlers = [];

/** The last picture, {blob, name}; null while there is none. */
export let picture = null;

/** Resolves when nothing is to be painted: thumbnails are painted in between. */
export const idle = () => (wanted || running || !photograph || state.camera ? new Promise((done) => idlers.push(done)) : Promise.resolve());

function settle() {
  if (!wanted && !running && photograph && !state.camera) for (const done of idlers.splice(0)) done();
}

/** Have the worker know a photograph. Returns what it says of one that it did not have. */
export async function sendPhoto(mine = photograph) {
  if (sent[0] === mine && sent[1] === generation) return null;
  const size = await call("photo", { blob: mine.blob });
  sent = [mine, generation];
  return size;
}

export const nameOf = (id) => styles.get(id)?.name || "";
export const namesOf = (list) => list.map(({ id }) => nameOf(id)).join(" and ");

/** Have the worker know the own paintings among some styles. */
export async function teachAll(list) {
  for (const { id } of list) if (styles.get(id)?.own) await teach(styles.get(id));
}

async function paintOnce(signal) {
  await teachAll(state.styles);
  await sendPhoto();
  const [{ photo, options }, list] = [state, state.styles];
  const level = ({ number: at, of, blob }) => {
    if (signal.aborted) return;
    progress(at / of);
    $("showing").textContent = `Painting, level ${at + 1} of ${of}`;
    if (blob) stage.showBlob(1, blob, "");
  };
  const { blob, width, height, seconds, on } = await call("paint", { styles: list, options, levels: true }, { level, signal });
  computesOn(on);
  if (signal.aborted) throw new Cancelled();
  await stage.showBlob(1, blob, `${photo.name} in the style of ${namesOf(list)}`);
  picture = { blob, name: `${stem(photo.name)}-${list.map(({ id }) => stem(nameOf(id))).join("-")}` };
  const took = `${number(Number(seconds.toPrecision(2)))} s`;
  $("showing").textContent = `${width} × ${height}, painted in ${took}`;
  say(`Painted in the style of ${namesOf(list)}, in ${took}.`);
  editor.emit("painted");
}

const stem = (name) => name.replace(/\.\w{1,5}$/, "").trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "picture";

/** After the worker ran out of memory: a smaller size, and say so. */
function smaller() {
  const { size } = state.options;
  const next = [...SIZES].reverse().find((one) => one < size);
  const words = `${size} pixels need more memory than this browser gives the page.`;
  if (!next) return problem($("paint-problem"), `${words} Close other pages and try again.`);
  change("options", { options: { ...state.options, size: next } });
  problem($("paint-problem"), `${words} The picture is painted at ${next} pixels.`);
}

async function run() {
  if (running) return running.abort();
  while (wanted && photograph && !state.camera) {
    wanted = false;
    running = new AbortController();
    $("working").hidden = false;
    $("showing").textContent = "Painting";
    progress(0);
    try {
      await together(() => paintOnce(running.signal));
    } catch (error) {
      if (error instanceof OutOfMemory) smaller();
      else if (!(error instanceof Cancelled)) {
        failed(error);
        $("showing").textContent = "";
      }
    }
    running = null;
  }
  $("working").hidden = true;
  progress(null);
  settle();
}

export function update() {
  problem($("paint-problem"), null);
  wanted = true;
  run();
}

/** Take a photograph, {blob, name}. One that cannot be read leaves the one before. */
export async function takePhoto(taken) {
  running?.abort();
  newest = taken;
  problem($("photo-problem"), null);
  $("showing").textContent = "Reading the photograph";
  try {
    const size = await together(() => sendPhoto(taken));
    if (newest !== taken) return;
    await stage.show(1, "");
    stage.size(size.width, size.height);
    await stage.showBlob(0, taken.blob, `The photograph ${taken.name}`);
    photograph = taken;
    picture = null;
    change("photo", { photo: { name: taken.name, ...size } });
  } catch (error) {
    if (newest !== taken) return;
    $("showing").textContent = "";
    if (photograph) update(); // what was being painted was aborted
    if (!(error instanceof Cancelled)) problem($("photo-problem"), error);
  }
}

export function startPaint() {
  for (const name of ["photo", "styles", "options"]) editor.on(name, () => photograph && update());
  editor.on("camera", () => (state.camera ? running?.abort() : photograph && update()));
}
