// All streams as tiles: a small picture of now, how each is, and what it costs.

import { request, within } from "./access.js";
import { grouped, milliseconds, rate } from "./numbers.js";

const STILL_MS = 2000;
const HISTORY = 60;
export const STATES = { starting: "Starting", live: "Live", lost: "Source lost", failed: "Failed", ended: "Ended" };
const TONES = { live: "live", failed: "gone", ended: "over" };

export class Overview {
  // `onChoose(name)` when a tile is clicked.
  constructor({ grid, template, empty, onChoose }) {
    Object.assign(this, { grid, template, empty, onChoose });
    this.tiles = new Map();
    this.isShown = false;
    this.timer = 0;
    // Only tiles that are seen fetch pictures.
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.dataset.seen = String(entry.isIntersecting);
    });
  }

  show(isShown) {
    if (this.isShown === isShown) return;
    this.isShown = isShown;
    clearTimeout(this.timer);
    if (isShown) this.#refreshStills();
  }

  update(streams) {
    const names = new Set(streams.map((one) => one.name));
    for (const [name, tile] of this.tiles) {
      if (!names.has(name)) this.#drop(name, tile);
    }
    for (const stream of streams) this.#fill(this.tiles.get(stream.name) ?? this.#add(stream.name), stream);
    this.empty.hidden = streams.length > 0;
  }

  #add(name) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const tile = { element, history: [], still: null, address: null };
    element.dataset.stream = name;
    element.href = `?stream=${encodeURIComponent(name)}`;
    part(element, "name").textContent = part(element, "name").title = name;
    element.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab
      event.preventDefault();
      this.onChoose(name);
    });
    this.tiles.set(name, tile);
    this.grid.append(element);
    this.seen.observe(element);
    return tile;
  }

  #drop(name, { element, address }) {
    this.seen.unobserve(element);
    element.remove();
    if (address) URL.revokeObjectURL(address);
    this.tiles.delete(name);
  }

  #fill(tile, stream) {
    const { element } = tile;
    const isLive = stream.state === "live";
    const put = (name, text) => {
      const target = part(element, name);
      if (target.textContent !== text) target.textContent = text;
    };
    tile.still = stream.still;
    element.dataset.state = stream.state;
    element.classList.toggle("is-quiet", !isLive);
    part(element, "state").dataset.state = TONES[stream.state] ?? "waiting";
    put("state-text", STATES[stream.state]);
    put("reason", stream.reason);
    part(element, "reason").hidden = !stream.reason;
    put("where", [stream.source, stream.outputs.join(", ")].filter(Boolean).join(" → "));
    part(element, "where").title = part(element, "where").textContent;
    put("fps", isLive ? rate(stream.fps_out) : "–");
    put("latency", isLive ? milliseconds(stream.latency_p95_ms) : "–");
    put("tier", (isLive && stream.tier) || "–");
    put("viewers", grouped(stream.viewers));
    put("size", stream.width ? `${stream.width}×${stream.height}` : "");
    part(element, "sound").hidden = !stream.has_audio;
    if (isLive) plot(tile, stream.latency_p95_ms);
    element.setAttribute("aria-label", `${stream.name}, ${STATES[stream.state]}${stream.reason ? `: ${stream.reason}` : ""}`);
  }

  async #refreshStills() {
    const wanted = [...this.tiles.values()].filter((tile) => hasStill(tile) && tile.element.dataset.seen === "true");
    if (document.visibilityState === "visible") {
      await Promise.all(wanted.map((tile) => this.#refreshStill(tile).catch(() => {})));
    }
    if (!this.isShown) return;
    // Soon again while a tile that is to have a picture has none yet. Whether a new one is seen is told
    // a moment after it is there.
    const isWaiting = [...this.tiles.values()].some(
      (tile) => !tile.address && hasStill(tile) && tile.element.dataset.seen !== "false",
    );
    this.timer = setTimeout(() => this.#refreshStills(), isWaiting ? STILL_MS / 4 : STILL_MS);
  }

  async #refreshStill(tile) {
    const response = await request(tile.still, { cache: "no-store", ...within(4000) });
    if (!response.ok) return;
    const address = URL.createObjectURL(await response.blob());
    const image = part(tile.element, "still");
    const old = tile.address;
    tile.address = address;
    image.src = address;
    await image.decode().catch(() => {});
    tile.element.classList.add("has-still");
    if (old) URL.revokeObjectURL(old);
  }
}

function hasStill({ element, still }) {
  return still && element.dataset.state === "live";
}

function plot(tile, value) {
  if (!Number.isFinite(value)) return;
  tile.history.push(value);
  if (tile.history.length > HISTORY) tile.history.shift();
  if (tile.history.length < 2) return;
  const top = Math.max(...tile.history) * 1.15 || 1;
  const points = tile.history.map((one, index) => {
    const x = (index / (tile.history.length - 1)) * 120;
    return `${x.toFixed(1)},${(27 - (one / top) * 26).toFixed(1)}`;
  });
  tile.element.querySelector(".spark path").setAttribute("d", `M${points.join("L")}`);
}

function part(element, name) {
  return element.querySelector(`[data-part="${name}"]`);
}
