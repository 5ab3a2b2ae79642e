// The photograph: dropped, pasted, picked, from the camera, or the sample.

import { $, act, say } from "./shared/dom.js";
import { dropping, picker } from "./shared/dropping.js";
import { takePhoto } from "./paint.js";
import { editor, state } from "./state.js";
import { addPaintings } from "./styles.js";

function take(files, onStyles) {
  const list = [...files];
  if (!list.length) return;
  if (onStyles) addPaintings(list);
  else takePhoto({ blob: list[0], name: list[0].name || "pasted picture" });
}

async function sample() {
  const answer = await fetch(new URL("sample.jpg", import.meta.url));
  if (!answer.ok) throw new Error(`The page could not load the sample: the server answered ${answer.status}.`);
  await takePhoto({ blob: await answer.blob(), name: "Chelsea" });
}

function show() {
  const chose = $("empty").contains(document.activeElement);
  const shown = Boolean(state.photo) && !state.camera;
  $("empty").hidden = Boolean(state.photo) || state.camera;
  $("stage").hidden = $("picture-tools").hidden = !shown;
  if (!state.photo) return;
  if (chose) $("replace").focus({ preventScroll: true });
  say(`${state.photo.name} is here, ${state.photo.width} by ${state.photo.height} pixels.`);
}

export function startPhoto() {
  for (const id of ["choose", "replace"]) $(id).addEventListener("click", () => $("photo-file").click());
  $("sample").addEventListener("click", () => act($("sample"), $("photo-problem"), sample));
  picker($("photo-file"), false, take);
  picker($("style-file"), true, take);
  dropping(take, { photo: "Drop the photograph", style: "Drop the painting: it becomes a style" });
  editor.on("photo", show);
  editor.on("camera", show);
}
