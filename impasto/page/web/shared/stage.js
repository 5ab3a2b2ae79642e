// A picture with a before/after slider and a magnifying lens.
// A place is {x, y} in fractions of the picture.

import { clamp, h } from "./dom.js";

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.02; // of the picture, for an arrow key; five times that with Shift
const UNSMOOTHED_FROM = 3; // screen pixels for one pixel of the picture
const ZOOMS = [2, 3, 4, 6, 8];

export class Stage {
  /** names: what the two sides are called. */
  constructor(host, names = ["Before", "After"]) {
    this.host = host;
    this.names = names;
    this.images = [blank("before"), blank("after")];
    this.versions = [0, 0];
    this.divider = h("div", { class: "divider", hidden: true });
    this.lens = h("canvas", { class: "lens", hidden: true, "aria-hidden": "true" });
    this.box = h("div", { class: "stage" }, ...this.images, this.divider, this.lens);
    this.split = h("input", { type: "range", class: "split", min: 0, max: 100, step: 0.1, value: 50, hidden: true, "aria-label": "Before and after" });
    host.append(this.box, this.split);
    this.comparing = this.magnifying = false;
    this.busy = false; // while something else, such as a brush, has the pointer
    this.place = { x: 0.5, y: 0.5 };
    this.zoom = 3;
    this.frame = 0;
    this.listen();
    this.update();
  }

  size(width, height) {
    this.host.style.setProperty("--ratio", String(width / height));
  }

  /** Show a picture on a side, 0 or 1, once it is decoded. An address of "" empties the side. */
  async show(side, address, alt = "") {
    const version = ++this.versions[side];
    const old = this.images[side];
    if (old.getAttribute("src") === address) {
      old.alt = alt;
      return true;
    }
    const next = blank(side ? "after" : "before");
    next.alt = alt;
    if (address) {
      next.src = address;
      try {
        await next.decode();
      } catch {
        if (!next.naturalWidth) return false;
      }
      next.hidden = false;
    }
    if (version !== this.versions[side]) return true;
    const before = this.images[side];
    this.images[side] = next;
    before.replaceWith(next);
    if (before.src.startsWith("blob:") && before.dataset.own) URL.revokeObjectURL(before.src);
    this.update();
    return true;
  }

  /** Show a blob; its address is given back when it is replaced. */
  async showBlob(side, blob, alt) {
    const address = URL.createObjectURL(blob);
    const done = await this.show(side, address, alt);
    const image = this.images[side];
    if (image.src === address) image.dataset.own = "1";
    else URL.revokeObjectURL(address);
    return done;
  }

  compare(on) {
    this.comparing = on;
    this.update();
  }

  magnify(on) {
    this.magnifying = on;
    if (on) this.box.tabIndex = 0;
    else this.box.removeAttribute("tabindex");
    this.box.classList.toggle("magnifying", on);
    this.box.setAttribute("role", on ? "group" : "presentation");
    if (on) this.box.setAttribute("aria-label", "Magnifier. Arrow keys move the lens, plus and minus zoom, Escape hides it.");
    else this.box.removeAttribute("aria-label");
    if (!on) this.point(null);
  }

  update() {
    const two = this.comparing && !this.images[0].hidden && !this.images[1].hidden;
    this.two = two;
    this.box.classList.toggle("comparing", two);
    this.divider.hidden = this.split.hidden = !two;
    const at = Number(this.split.value);
    this.box.style.setProperty("--split", `${at}%`);
    this.split.setAttribute("aria-valuetext", `${Math.round(at)} % ${this.names[0]}, then ${this.names[1]}`);
    this.point(this.shown ? this.place : null);
  }

  listen() {
    const { box, split } = this;
    const where = (event) => {
      const area = box.getBoundingClientRect();
      return { x: clamp((event.clientX - area.left) / area.width, 0, 1), y: clamp((event.clientY - area.top) / area.height, 0, 1) };
    };
    const drag = (event) => {
      split.value = 100 * where(event).x;
      this.update();
    };
    box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.busy) return;
      if (this.magnifying) return this.point(where(event));
      if (!this.two) return;
      box.setPointerCapture(event.pointerId);
      drag(event);
      split.focus({ preventScroll: true }); // so that the arrow keys go on from here
      event.preventDefault();
    });
    box.addEventListener("pointermove", (event) => {
      if (this.busy) return;
      if (this.magnifying) this.point(where(event));
      else if (box.hasPointerCapture(event.pointerId)) drag(event);
    });
    box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.point(null));
    box.addEventListener("focus", () => this.magnifying && box.matches(":focus-visible") && this.point(this.place));
    box.addEventListener("blur", () => this.point(null));
    box.addEventListener("keydown", (event) => this.onKey(event));
    split.addEventListener("input", () => this.update());
    split.addEventListener("keydown", (event) => {
      const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
      split.value = Number(split.value) + direction * (event.shiftKey ? 10 : 1); // the step of 0.1 is for dragging
      this.update();
      event.preventDefault();
    });
    window.addEventListener("resize", () => this.point(this.shown ? this.place : null));
  }

  onKey(event) {
    if (!this.magnifying || this.busy || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEP * (event.shiftKey ? 5 : 1);
    if (event.key in KEYS) {
      const [right, down] = KEYS[event.key];
      this.point({ x: clamp(this.place.x + right * step, 0, 1), y: clamp(this.place.y + down * step, 0, 1) });
    } else if ("+=-".includes(event.key)) {
      const at = ZOOMS.indexOf(this.zoom) + (event.key === "-" ? -1 : 1);
      this.zoom = ZOOMS[clamp(at, 0, ZOOMS.length - 1)];
      this.point(this.place);
    } else if (event.key === "Escape" && this.shown) this.point(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Put the lens on a place, or hide it. */
  point(place) {
    this.shown = Boolean(place) && this.magnifying && !this.busy;
    if (place) this.place = place;
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const { lens, place, zoom } = this;
    lens.hidden = !this.shown;
    if (lens.hidden) return;
    const area = this.box.getBoundingClientRect();
    const diameter = Math.round(clamp(0.6 * Math.min(area.width, area.height), 96, 260));
    const density = window.devicePixelRatio;
    lens.style.left = `${place.x * area.width}px`;
    lens.style.top = `${place.y * area.height}px`;
    lens.style.width = lens.style.height = `${diameter}px`;
    lens.width = lens.height = Math.round(diameter * density); // this also clears it
    const context = lens.getContext("2d");
    const scale = zoom * density; // lens pixels for one CSS pixel of the stage
    const [left, top] = [lens.width / 2 - place.x * area.width * scale, lens.height / 2 - place.y * area.height * scale];
    const edge = this.two ? left + (Number(this.split.value) / 100) * area.width * scale : this.images[1].hidden ? lens.width : 0;
    const sides = [[this.images[0], 0, edge], [this.images[1], edge, lens.width]];
    for (const [image, from, to] of sides) {
      if (image.hidden || to <= from) continue;
      const fitted = contained(image, area);
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, lens.height);
      context.clip();
      context.imageSmoothingEnabled = (scale * fitted.width) / image.naturalWidth < UNSMOOTHED_FROM;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, left + fitted.x * scale, top + fitted.y * scale, fitted.width * scale, fitted.height * scale);
      context.restore();
    }
  }
}

const blank = (side) => h("img", { class: side, alt: "", hidden: true, draggable: "false" });

/** Where `object-fit: contain` puts an image in an area. */
function contained(image, area) {
  const scale = Math.min(area.width / image.naturalWidth, area.height / image.naturalHeight);
  const [width, height] = [scale * image.naturalWidth, scale * image.naturalHeight];
  return { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
}

/** Connect a stage with its two switches. */
export function switches(stage, split, lens) {
  split?.addEventListener("change", () => stage.compare(split.checked));
  lens.addEventListener("change", () => stage.magnify(lens.checked));
}
