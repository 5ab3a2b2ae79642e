// Downloads of the picture.

import { $, act } from "./shared/dom.js";
import { idle, picture } from "./paint.js";
import { editor } from "./state.js";

const QUALITY = 0.95; // of JPEG

/** The picture as a JPEG: on white where it is transparent. */
async function jpeg(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function startSave() {
  const buttons = { png: (blob) => blob, jpg: jpeg };
  for (const [suffix, made] of Object.entries(buttons)) {
    const element = $(`save-${suffix}`);
    element.addEventListener("click", () => act(element, $("paint-problem"), async () => {
      await idle(); // the picture that was asked for last
      if (picture) download(await made(picture.blob), `${picture.name}.${suffix}`);
    }));
  }
  const update = () => {
    for (const suffix of Object.keys(buttons)) $(`save-${suffix}`).disabled = !picture;
  };
  for (const name of ["painted", "photo", "camera"]) editor.on(name, update);
}
