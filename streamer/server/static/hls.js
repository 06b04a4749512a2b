// Plays an HLS output where the browser can do that by itself (Safari; Chrome and Edge since 2025),
// and tells its address for players.

import { hasToken, withTokenInAddress } from "./access.js";

const TYPE = "application/vnd.apple.mpegurl";
const RETRY_MS = 2000;
const SILENT_MS = 15_000; // players hold a few segments of two seconds

const $ = (id) => document.getElementById(id);

export class Player {
  // `onPlaying()` with the first picture after `start`, and after each interruption.
  constructor({ video, onPlaying }) {
    this.video = video;
    this.canPlay = video.canPlayType(TYPE) !== "";
    this.address = null;
    this.timer = 0;
    this.movedAt = 0;
    this.position = 0;
    video.addEventListener("playing", onPlaying);
    for (const name of ["error", "ended"]) video.addEventListener(name, () => this.#retry());
  }

  get isPlaying() {
    return this.address !== null && !this.video.paused && this.video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA;
  }

  start(address) {
    this.address = address;
    this.video.hidden = false;
    this.#open();
  }

  stop() {
    clearTimeout(this.timer);
    if (this.address === null) return;
    this.address = null;
    this.video.hidden = true;
    this.video.removeAttribute("src");
    this.video.load(); // or it goes on loading
  }

  // Call now and then: a player that waits for what never comes begins anew.
  checkForSilence() {
    if (this.address === null) return;
    const { paused, currentTime } = this.video;
    if (paused || currentTime !== this.position) this.movedAt = performance.now();
    this.position = currentTime;
    if (performance.now() - this.movedAt > SILENT_MS) this.#open();
  }

  // In the words of WebRTC's statistics.
  statistics() {
    const { totalVideoFrames, droppedVideoFrames } = this.video.getVideoPlaybackQuality();
    return { id: this.address, timestamp: performance.now(), framesDecoded: totalVideoFrames, framesDropped: droppedVideoFrames };
  }

  #open() {
    clearTimeout(this.timer);
    this.movedAt = performance.now();
    this.video.src = withTokenInAddress(this.address);
    this.video.play().catch(() => {}); // what is wrong comes as an event
  }

  #retry() {
    clearTimeout(this.timer);
    if (this.address !== null) this.timer = setTimeout(() => this.#open(), RETRY_MS);
  }
}

export function showAddress(address) {
  $("hls-url").value = address;
  $("hls-token").hidden = !hasToken();
  $("hls-copy").textContent = "Copy";
  $("hls").showModal();
  $("hls-url").select();
}

$("hls-copy").addEventListener("click", async () => {
  const field = $("hls-url");
  field.select();
  // Browsers give the clipboard's own interface to https and this machine only.
  const isCopied = navigator.clipboard
    ? await navigator.clipboard.writeText(field.value).then(() => true, () => document.execCommand("copy"))
    : document.execCommand("copy");
  $("hls-copy").textContent = isCopied ? "Copied" : "Copy it with Ctrl-C";
});
$("hls-close").addEventListener("click", () => $("hls").close());
