// The stage: the photograph and the picture.

import { $, h } from "./shared/dom.js";
import { Stage, switches } from "./shared/stage.js";

export const stage = new Stage($("stage"), ["photograph", "picture"]);
const bar = h("progress", { class: "thin", max: 1, "aria-hidden": "true", hidden: true });
stage.box.append(bar);
switches(stage, $("split-on"), $("lens-on"));

/** Show how far a picture is, 0..1; null hides the bar. */
export function progress(share) {
  bar.hidden = share === null;
  if (share !== null) bar.value = share;
}
