// The start.

import { startCamera } from "./camera.js";
import { startDials } from "./dials.js";
import { failed, ready } from "./engine.js";
import { install } from "./offline.js";
import { startPaint } from "./paint.js";
import { startPhoto } from "./photo.js";
import { startSave } from "./save.js";
import { $, problem } from "./shared/dom.js";
import { themeButton } from "./shared/theme-button.js";
import { startStyles } from "./styles.js";

async function start() {
  themeButton($("theme"));
  await startStyles();
  startDials();
  startPaint();
  startPhoto();
  startSave();
  startCamera();
  await install();
  $("main").removeAttribute("inert");
  await load();
}

async function load() {
  problem($("load-problem"), null);
  $("load-again").hidden = true;
  try {
    await ready();
  } catch (error) {
    problem($("load-problem"), error);
    $("load-again").hidden = false;
  }
}

$("load-again").addEventListener("click", load);

start().catch((error) => {
  failed(error);
  console.error(error);
});
