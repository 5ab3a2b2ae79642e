// The photograph or the clip: dropped, pasted or picked, uploaded, and restored.

import { api, at, upload } from "./api.js";
import { $, problem, say } from "./shared/dom.js";
import { dropping, picker } from "./shared/dropping.js";
import { addStyles } from "./styles.js";
import { change, editor, state } from "./state.js";
import { stage } from "./easel.js";
import { bytes, clipFacts, photoName } from "./words.js";

let limits = null;
let uploading = 0;

const isStyleFile = (file) => /\.style$/i.test(file.name);

async function use(file) {
  const version = ++uploading;
  problem($("photo-problem"), null);
  if (limits?.max_upload && file.size > limits.max_upload) {
    return problem($("photo-problem"), `${file.name || "This file"} has ${bytes(file.size)}; at most ${bytes(limits.max_upload)} can be uploaded.`);
  }
  const bar = $("upload-bar");
  bar.value = 0;
  $("upload-text").textContent = `Uploading ${file.name || "the pasted picture"}`;
  $("uploading").hidden = false;
  try {
    const photo = await upload("images", file, file.name || "pasted.png", (share) => {
      if (version !== uploading) return;
      bar.value = share;
      if (share === 1) $("upload-text").textContent = "Reading the file";
    });
    if (version !== uploading) return;
    setPhoto(photo);
    say(`${photo.name} is here, ${photo.width} by ${photo.height} pixels.`);
  } catch (error) {
    if (version === uploading) problem($("photo-problem"), error);
  } finally {
    if (version === uploading) $("uploading").hidden = true;
  }
}

export function setPhoto(photo, { regions = [], film = { ...state.film, start: null, end: null } } = {}) {
  change("regions", { regions });
  change("photo", { photo, film, job: null, shown: "instant" });
}

function show() {
  const { photo } = state;
  const chose = $("empty").contains(document.activeElement);
  $("empty").hidden = Boolean(photo);
  $("stage").hidden = $("picture-tools").hidden = !photo;
  if (!photo) return;
  if (chose) $("replace").focus({ preventScroll: true });
  stage.size(photo.width, photo.height);
  stage.show(1, "");
  stage.show(0, at.image(photo.id, 1600), photoName(photo));
  const notes = $("photo-notes");
  notes.textContent = [...(photo.clip ? [clipFacts(photo.clip)] : []), ...(photo.notes || [])].join(" ");
  notes.hidden = !notes.textContent;
}

/** Take files that were dropped, pasted or picked. onStyles: whether images are meant as paintings. */
function take(files, onStyles) {
  const list = [...files];
  if (!list.length) return;
  if (location.hash === "#batch") return editor.emit("files", list);
  if (location.hash.startsWith("#queue") || location.hash.startsWith("#gallery")) location.hash = "#studio";
  const styles = list.filter((file) => onStyles || isStyleFile(file));
  if (styles.length) addStyles(styles);
  const photo = list.find((file) => !styles.includes(file));
  if (photo) use(photo);
}

/** Check whether the studio still has the photograph of last time. */
export async function restorePhoto() {
  if (!state.photo) return;
  try {
    state.photo = await api.image(state.photo.id);
  } catch (error) {
    if (error.status !== 404) throw error;
    problem($("photo-problem"), `${state.photo.name || "The file of last time"} is no longer in the studio. Choose it again.`);
    change("regions", { regions: [] });
    change("photo", { photo: null, job: null, shown: "instant" });
  }
}

export function startPhoto(found) {
  limits = found;
  for (const id of ["choose", "replace"]) $(id).addEventListener("click", () => $("photo-file").click());
  picker($("photo-file"), false, take);
  picker($("style-file"), true, take);
  dropping(take, { photo: "Drop the photograph or the clip", style: "Drop the painting: it becomes a style" });
  editor.on("photo", show);
}

