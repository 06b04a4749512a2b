// Draws both halves of one video frame on one canvas, with a divider between them.

const KEY_STEP = 0.02;
const PAGE_STEP = 0.1;
const PANS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
const SWEEP_PERIOD_S = 9;
const SWEEP_REACH = 0.34;
const MAX_ZOOM = 8;

export class Compare {
  constructor({ stage, video, canvas, divider, labels, onView }) {
    Object.assign(this, { stage, video, canvas, divider, labels, onView });
    this.context = canvas.getContext("2d", { alpha: false });
    this.position = 0.5; // of the visible part of the picture
    this.zoom = "fit"; // or device pixels per pixel of the stream
    this.centre = { x: 0.5, y: 0.5 }; // of the picture, in the middle of the stage
    this.sampleAspect = 1;
    this.framesDrawn = 0;
    this.isSweeping = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.sweepStart = null;
    this.isStale = false;
    this.isNewFrame = false;
    this.#listen();
    this.#watchFrames();
    requestAnimationFrame((now) => this.#tick(now));
  }

  get hasPicture() {
    return this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && this.video.videoWidth > 0;
  }

  get isShown() {
    return this.stage.classList.contains("has-picture");
  }

  setSampleAspect(aspect) {
    if (!(aspect > 0) || aspect === this.sampleAspect) return;
    this.sampleAspect = aspect;
    this.#layout();
  }

  setPosition(position) {
    this.position = clamp(position, 0, 1);
    this.#placeDivider();
    this.isStale = true;
  }

  setSweeping(isSweeping) {
    this.isSweeping = isSweeping;
    this.sweepStart = null;
    this.onView();
  }

  setZoom(zoom, about = null) {
    const before = this.picture;
    this.zoom = zoom;
    if (zoom === "fit") this.centre = { x: 0.5, y: 0.5 };
    else if (about && before) this.#keepUnder(about, before);
    this.#layout();
    this.onView();
  }

  // What the right side is at the moment: a busy machine may have had no time for the network.
  setEnhanced(isEnhanced) {
    const text = isEnhanced ? "enhanced" : "not enhanced now";
    if (this.labels.enhanced.textContent === text) return;
    this.labels.enhanced.textContent = text;
    this.labels.enhanced.classList.toggle("is-off", !isEnhanced);
    this.#placeDivider();
  }

  // The video has a new source: wait for its first frame.
  forget() {
    this.stage.classList.remove("has-picture");
    this.divider.hidden = true;
  }

  #watchFrames() {
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) return;
    const onFrame = () => {
      this.isNewFrame = true;
      this.video.requestVideoFrameCallback(onFrame);
    };
    this.video.requestVideoFrameCallback(onFrame);
  }

  #tick(now) {
    requestAnimationFrame((next) => this.#tick(next));
    if (!this.hasPicture) return;
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) this.isNewFrame = true;
    // The divider sweeps with the frames: in between there would be nothing new beside it.
    if (this.isSweeping && this.isNewFrame) this.#sweep(now);
    if (!this.isNewFrame && !this.isStale) return;
    this.#draw();
    this.framesDrawn += this.isNewFrame;
    this.isNewFrame = this.isStale = false;
  }

  #sweep(now) {
    this.sweepStart ??= now;
    const turns = (now - this.sweepStart) / 1000 / SWEEP_PERIOD_S;
    this.setPosition(0.5 + SWEEP_REACH * Math.sin(2 * Math.PI * turns));
  }

  #draw() {
    const width = this.video.videoWidth;
    const height = this.video.videoHeight >> 1;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    if (!this.isShown) {
      this.stage.classList.add("has-picture");
      this.divider.hidden = false;
    }
    if (this.laidOutFor !== `${width}x${height}`) {
      this.laidOutFor = `${width}x${height}`;
      this.#layout();
    }
    const split = Math.round(clamp((this.dividerX - this.picture.left) / this.picture.width, 0, 1) * width);
    const still = this.#still();
    if (split > 0) this.context.drawImage(still, 0, height, split, height, 0, 0, split, height);
    if (split < width) {
      this.context.drawImage(still, split, 0, width - split, height, split, 0, width - split, height);
    }
  }

  // The latest frame as pixels. Both halves are cut from it, so they show one moment however far the
  // video element has moved on, and the costly part, turning video into pixels, is done once a frame.
  #still() {
    const { videoWidth: width, videoHeight: height } = this.video;
    this.still ??= new OffscreenCanvas(width, height);
    const isResized = this.still.width !== width || this.still.height !== height;
    if (isResized) Object.assign(this.still, { width, height });
    if (this.isNewFrame || isResized) {
      this.still.getContext("2d", { alpha: false }).drawImage(this.video, 0, 0);
    }
    return this.still;
  }

  // Where the picture lies on the stage, in CSS pixels.
  #layout() {
    const { clientWidth: stageWidth, clientHeight: stageHeight } = this.stage;
    const width = this.canvas.width * this.sampleAspect;
    const height = this.canvas.height;
    const fit = Math.min(stageWidth / width, stageHeight / height);
    const scale = this.zoom === "fit" ? fit : this.zoom / devicePixelRatio;
    const shown = { width: width * scale, height: height * scale };
    const left = place(stageWidth, shown.width, this.centre.x);
    const top = place(stageHeight, shown.height, this.centre.y);
    this.picture = { left, top, ...shown };
    this.centre = { x: (stageWidth / 2 - left) / shown.width, y: (stageHeight / 2 - top) / shown.height };
    const { style } = this.canvas;
    style.width = `${shown.width}px`;
    style.height = `${shown.height}px`;
    style.transform = `translate(${left}px, ${top}px)`;
    this.canvas.classList.toggle("is-enlarged", scale * devicePixelRatio >= 2);
    this.stage.classList.toggle("can-pan", shown.width > stageWidth + 1 || shown.height > stageHeight + 1);
    this.stage.style.setProperty("--aspect", `${width} / ${height}`);
    this.visible = {
      left: Math.max(0, left),
      right: Math.min(stageWidth, left + shown.width),
      top: Math.max(0, top),
      bottom: Math.min(stageHeight, top + shown.height),
    };
    this.#placeDivider();
    this.isStale = true;
  }

  #placeDivider() {
    if (!this.visible) return;
    const { left, right, top, bottom } = this.visible;
    this.dividerX = left + this.position * (right - left);
    const { style } = this.divider;
    style.transform = `translateX(${this.dividerX}px)`;
    style.top = `${top}px`;
    style.height = `${bottom - top}px`;
    const percent = Math.round(this.position * 100);
    this.divider.setAttribute("aria-valuenow", percent);
    this.divider.setAttribute("aria-valuetext", `${percent} % plain upscale`);
    this.#placeLabel(this.labels.plain, left + 14, this.dividerX - left, top);
    const { offsetWidth } = this.labels.enhanced;
    this.#placeLabel(this.labels.enhanced, right - 14 - offsetWidth, right - this.dividerX, top);
  }

  #placeLabel(label, x, room, top) {
    label.style.left = `${x}px`;
    label.style.marginTop = `${top}px`;
    const isShown = this.hasPicture && room > label.offsetWidth + 30;
    label.classList.toggle("is-shown", isShown);
  }

  // After a zoom the point under the pointer stays under the pointer.
  #keepUnder(about, before) {
    const u = (about.x - before.left) / before.width;
    const v = (about.y - before.top) / before.height;
    const scale = this.zoom / devicePixelRatio;
    const width = this.canvas.width * this.sampleAspect * scale;
    const height = this.canvas.height * scale;
    this.centre = {
      x: u + (this.stage.clientWidth / 2 - about.x) / width,
      y: v + (this.stage.clientHeight / 2 - about.y) / height,
    };
  }

  #listen() {
    new ResizeObserver(() => this.#layout()).observe(this.stage);
    this.divider.addEventListener("keydown", (event) => this.#onKey(event));
    this.stage.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    this.stage.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.stage.addEventListener("dblclick", (event) => {
      if (this.isShown && !event.target.closest("button")) this.setZoom(this.zoom === "fit" ? 2 : "fit", this.#at(event));
    });
  }

  #onKey(event) {
    const steps = {
      ArrowLeft: -KEY_STEP, ArrowDown: -KEY_STEP, ArrowRight: KEY_STEP, ArrowUp: KEY_STEP,
      PageDown: -PAGE_STEP, PageUp: PAGE_STEP, Home: -1, End: 1,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.setSweeping(false);
    const pan = event.shiftKey && PANS[event.key];
    if (pan) {
      this.#panBy(...pan);
      return;
    }
    this.setPosition(this.position + step);
  }

  // The grip always moves the divider; the picture moves it too, unless there is something to pan.
  #onPointerDown(event) {
    if (event.button !== 0 || event.target.closest("button") || !this.isShown) return;
    this.setSweeping(false);
    const pans = this.stage.classList.contains("can-pan") && !event.target.closest("#divider");
    let last = this.#at(event);
    if (!pans) this.#dragTo(last);
    this.stage.setPointerCapture(event.pointerId);
    this.stage.classList.toggle("is-panning", pans);
    const onMove = (moved) => {
      const now = this.#at(moved);
      if (pans) this.#panBy(now.x - last.x, now.y - last.y);
      else this.#dragTo(now);
      last = now;
    };
    const onEnd = () => {
      this.stage.classList.remove("is-panning");
      this.stage.removeEventListener("pointermove", onMove);
    };
    this.stage.addEventListener("pointermove", onMove);
    this.stage.addEventListener("lostpointercapture", onEnd, { once: true });
    if (!pans) this.divider.focus({ preventScroll: true, focusVisible: false });
  }

  #dragTo({ x }) {
    this.setPosition((x - this.visible.left) / (this.visible.right - this.visible.left));
  }

  #panBy(dx, dy) {
    this.centre = {
      x: this.centre.x - dx / this.picture.width,
      y: this.centre.y - dy / this.picture.height,
    };
    this.#layout();
  }

  #onWheel(event) {
    if (!this.isShown) return;
    event.preventDefault();
    this.setSweeping(false);
    const fit = (this.picture.height / this.canvas.height) * devicePixelRatio;
    const wanted = (this.zoom === "fit" ? fit : this.zoom) * 2 ** (-event.deltaY / 400);
    const smallest = Math.min(
      this.stage.clientWidth / (this.canvas.width * this.sampleAspect),
      this.stage.clientHeight / this.canvas.height,
    ) * devicePixelRatio;
    this.setZoom(wanted <= smallest ? "fit" : Math.min(wanted, MAX_ZOOM), this.#at(event));
  }

  #at(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}

// The near edge of something `size` long on a stage `room` long, without leaving needless gaps.
function place(room, size, centre) {
  if (size <= room) return (room - size) / 2;
  return clamp(room / 2 - centre * size, room - size, 0);
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
