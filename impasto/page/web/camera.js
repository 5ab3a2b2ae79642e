// The camera: every frame painted, with the rate shown; or one frame as the photograph.

import { Cancelled, call, failed } from "./engine.js";
import { namesOf, takePhoto, teachAll } from "./paint.js";
import { $, act, h, problem, say } from "./shared/dom.js";
import { change, editor, state } from "./state.js";
import { number } from "./shared/words.js";

const SIDES = [128, 192, 256, 384]; // pixels of the longer side
const MEMORY = 0.8; // of the mean time of a frame, for each frame
const SAID_EVERY = 500; // milliseconds between changes of the rate that is shown

const video = h("video", { muted: true, playsinline: true });
let stream = null;
let starting = false;
let side = 192;

/** Let go of the camera. */
function release(tracks) {
  for (const track of tracks) track.stop();
  video.srcObject = null;
}

async function start() {
  if (starting || stream) return;
  starting = true;
  problem($("photo-problem"), null);
  let found = null;
  try {
    found = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    video.srcObject = found;
    await video.play();
  } catch (error) {
    release(found?.getTracks() ?? []);
    const words = { NotAllowedError: "The browser does not let the page use the camera.", NotFoundError: "No camera was found." };
    return problem($("photo-problem"), words[error.name] || `The camera cannot be used: ${error.message}`);
  } finally {
    starting = false;
  }
  if (document.hidden) return release(found.getTracks());
  stream = found;
  found.getVideoTracks()[0].addEventListener("ended", () => stream === found && stop());
  change("camera", { camera: true });
  $("camera").hidden = false;
  $("camera-take").focus({ preventScroll: true });
  say("The camera is on.");
  run();
}

function stop() {
  if (!stream) return;
  release(stream.getTracks());
  stream = null;
  $("camera").hidden = true;
  change("camera", { camera: false });
  ($("empty").hidden ? $("replace") : $("choose")).focus({ preventScroll: true });
}

/** A frame of the video at most `longest` pixels long. */
function grabbed(longest) {
  const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
  const [resizeWidth, resizeHeight] = [video.videoWidth, video.videoHeight].map((length) => Math.max(1, Math.round(length * scale)));
  return createImageBitmap(video, { resizeWidth, resizeHeight, resizeQuality: "medium" });
}

async function run() {
  const mine = stream;
  const canvas = $("camera-canvas").getContext("bitmaprenderer");
  let [frames, mean, said] = [0, 0, 0];
  while (stream === mine) {
    try {
      const began = performance.now();
      await teachAll(state.styles);
      const bitmap = await grabbed(side);
      $("camera-canvas").style.setProperty("--ratio", String(bitmap.width / bitmap.height));
      const options = { ...state.options, size: Math.max(bitmap.width, bitmap.height) };
      const painted = await call("frame", { bitmap, styles: state.styles, options }, { transfer: [bitmap] });
      if (stream !== mine) return;
      canvas.transferFromImageBitmap(painted.bitmap);
      const now = performance.now();
      if (frames++) mean = mean ? MEMORY * mean + (1 - MEMORY) * (now - began) : now - began; // the first one waits for the network
      if (!mean || now - said < SAID_EVERY) continue;
      said = now;
      $("camera-canvas").setAttribute("aria-label", `The camera in the style of ${namesOf(state.styles)}`);
      $("camera-rate").textContent = `${number(Number((1000 / mean).toPrecision(2)))} frames per second, ${options.size} pixels`;
    } catch (error) {
      if (error instanceof Cancelled) continue;
      if (stream !== mine) return;
      failed(error);
      stop();
    }
  }
}

async function take() {
  const mine = stream;
  const bitmap = await grabbed(Infinity);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  if (stream !== mine) return;
  stop();
  await takePhoto({ blob, name: "camera" });
}

export function startCamera() {
  const usable = Boolean(navigator.mediaDevices?.getUserMedia);
  for (const id of ["camera-empty", "camera-on"]) {
    $(id).hidden = !usable;
    $(id).addEventListener("click", start);
  }
  const radios = SIDES.map((value) => h("input", { type: "radio", class: "unseen", name: "camera-size", value, checked: value === side, on: { change: () => (side = value) } }));
  $("camera-sizes").append(...radios.map((radio) => h("label", {}, radio, h("span", { text: radio.value }))));
  $("camera-take").addEventListener("click", () => act($("camera-take"), $("photo-problem"), take));
  $("camera-stop").addEventListener("click", stop);
  document.addEventListener("visibilitychange", () => document.hidden && stop());
  editor.emit("camera");
}
