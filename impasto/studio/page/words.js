// What the page says that depends on data.

import { count, duration, number, percent, titled } from "./shared/words.js";

export { bytes, count, duration, number, percent } from "./shared/words.js";

export function day(seconds) {
  const date = new Date(1000 * seconds);
  const today = new Date().toDateString() === date.toDateString();
  return new Intl.DateTimeFormat("en", today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" }).format(date);
}

/** People's own names stay as they are. */
export function styleName(style) {
  const name = style.name || "A painting";
  if (style.kind && style.kind !== "built-in") return name;
  return titled(name);
}

export const stylesOf = (job) => job.styles.map(styleName).join(", ");

export function title(job) {
  const photo = (job.photo || job.folder)?.name || "a photograph";
  if (job.kind === "batch") return `Batch of ${photo}: ${stylesOf(job)}`;
  if (job.kind === "tune") return `Tuning ${stylesOf(job)}`;
  if (job.kind === "sheet") return `Sheet of styles of ${photo}`;
  return job.styles.length ? `${stylesOf(job)} on ${photo}` : `Regions of ${photo}`;
}

export const photoName = ({ name, clip }) => `${clip ? "The first frame of" : "The photograph"} ${name}`;
export const clipFacts = ({ frames, seconds, sound }) => `A clip of ${number(seconds)} s, ${count(frames, "frame", "frames")}, ${sound ? "with" : "without"} sound.`;

export const STATES = {
  queued: "Waiting",
  running: "In progress",
  paused: "Paused",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  held: "On hold",
};

/** One line on how far a job is. */
export function status(job) {
  if (job.state === "queued") return job.place > 1 ? `Waiting, number ${job.place} in the queue` : "Waiting, next in the queue";
  if (job.state === "paused") return `Paused at ${percent(job.done)}`;
  if (job.state === "held") return "On hold: painting it stopped the worker twice. Try again, perhaps with a smaller size, or delete it.";
  if (job.state === "failed") return job.error || "It failed.";
  if (job.state === "cancelled") return job.result ? `Cancelled at ${percent(job.done)}; what was painted so far is kept` : "Cancelled before anything was painted";
  if (job.state === "done") return job.seconds ? `Done in ${duration(job.seconds)}` : "Done";
  const at = job.progress;
  if (!at) return "Starting";
  const parts = [at.items ? `${at.painted + at.kept} of ${at.items} images` : at.frames ? `Frame ${at.frame} of ${at.frames}` : percent(job.done)];
  if (at.steps) parts.push(`step ${at.step} of ${at.steps}`);
  if (at.left !== null && at.left !== undefined) parts.push(`${duration(at.left)} left`);
  return parts.join(", ");
}

export function facts(job) {
  const parts = [];
  if (job.result) parts.push(`${job.result.width} × ${job.result.height}`);
  if (job.progress?.frame) parts.push(count(job.progress.frame, "frame", "frames"));
  if (job.finished) parts.push(day(job.finished));
  if (!job.whole) parts.push(`stopped at ${percent(job.done)}`);
  return parts.join(" · ");
}

export const QUALITIES = { instant: "Instant", draft: "Draft", normal: "Normal", best: "Best" };
export const COLORS = { off: "Painting", match: "Matched", luma: "Photograph" };

export const HINTS = {
  quality: {
    instant: "As previewed, in a second.",
    draft: "A quick look.",
    normal: "Good for most pictures.",
    best: "For prints. Takes longest.",
  },
  film: {
    instant: "Each frame at once, kept calm.",
    normal: "A few frames are painted and carried to those between.",
    best: "Every frame is painted. Takes very long.",
  },
  keep_colors: {
    off: "Colors of the painting.",
    match: "The painting's colors, moved toward the photograph's.",
    luma: "Colors of the photograph; only the brightness is painted.",
  },
};

export const FIXED = "The colors of a stored style are fixed. They can be changed with a painting that you add.";

const FIELDS = {
  width: "Width", height: "Height", seconds: "Seconds", impasto: "impasto version", torch: "PyTorch version", ran_on: "Computed on",
  encoder_digest: "Encoder (SHA-256)", network: "Network (SHA-256)", threads: "Threads", memory: "Planned memory", picture: "Pixels (SHA-256)",
  done: "Share of the work", keep_exif: "EXIF kept", depth: "Bits per channel", style_scale: "Stroke size", keep_colors: "Keep colors",
  sha256: "SHA-256", tv_weight: "Total variation weight", init: "Start", init_size: "First scale",
};

/** A record's field in words. */
export function field(name) {
  if (FIELDS[name]) return FIELDS[name];
  const text = name.replaceAll("_", " ");
  return text ? text[0].toUpperCase() + text.slice(1) : name;
}
