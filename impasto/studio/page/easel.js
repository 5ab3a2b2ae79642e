// The stage of the editor, shared by the photograph, the instant picture, the job and the brush.

import { $ } from "./shared/dom.js";
import { Stage, switches } from "./shared/stage.js";

export const stage = new Stage($("stage"), ["photograph", "painting"]);
switches(stage, $("split-on"), $("lens-on"));
