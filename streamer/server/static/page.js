// The page: all streams or one of them, whether it arrives, and how it is looked at.

import { request, within } from "./access.js";
import { Compare } from "./compare.js";
import { forgetStream, plural, showBrowser, showStream } from "./numbers.js";
import { Overview, STATES } from "./overview.js";
import { Receiver } from "./whep.js";

const POLL_MS = 1000;
const OPEN_H264 = "In Firefox, turn on OpenH264 among the plugins of about:addons; then the picture comes by itself.";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
let streams = [];
let current = null;
let isAnswering = true;
let isConnected = false; // or trying to be
let isSwitchingSound = false; // the last picture stays until the next connection has one
let pollTimer = 0;

const compare = new Compare({
  stage,
  video: $("video"),
  canvas: $("picture"),
  divider: $("divider"),
  labels: { plain: $("label-plain"), enhanced: $("label-enhanced") },
  onView: showView,
});

const receiver = new Receiver({
  onState: showState,
  onStream(stream) {
    if (!isSwitchingSound) compare.forget();
    $("video").srcObject = stream;
    play();
  },
});

const overview = new Overview({
  grid: $("grid"),
  template: $("tile"),
  empty: $("empty"),
  onChoose: (name) => go(`?stream=${encodeURIComponent(name)}`),
});

// For the tests and for the curious; it only tells.
window.streamerPage = Object.freeze({
  get stream() { return current?.name ?? null; },
  get streams() { return streams.map((one) => one.name); },
  get isOverview() { return overview.isShown; },
  get framesDrawn() { return compare.framesDrawn; },
  get framesDecoded() { return receiver.decodedBefore + receiver.decoded; },
  get freezeCount() { return receiver.freezes; },
  get dividerPosition() { return compare.position; },
  get isSweeping() { return compare.isSweeping; },
  get soundBytes() { return receiver.soundBytes; },
  get isMuted() { return $("video").muted; },
  get zoom() { return compare.zoom; },
  get connectionState() { return receiver.connection?.connectionState ?? "closed"; },
});

// Browsers play by themselves only what is silent; a page that was clicked may sound.
function play() {
  $("video").play().catch(() => setMuted(true));
}

function setMuted(isMuted) {
  $("video").muted = isMuted;
  isSwitchingSound = isConnected && receiver.wantsSound === isMuted;
  receiver.setSound(!isMuted);
  $("sound").setAttribute("aria-pressed", String(!isMuted));
  $("sound").title = isMuted ? "Sound on (M)" : "Sound off (M)";
  if ($("video").srcObject) $("video").play().catch(() => {});
}

function showState(state, detail) {
  if (!current) return;
  if (state === "connecting" && receiver.attempt === 0 && !isSwitchingSound) announce("Connecting", "");
  if (state !== "connecting") isSwitchingSound = false;
  if (state === "gone") announce(detail, "Trying again by itself.");
  if (state === "unplayable") announce(detail, `${OPEN_H264}${elsewhere(current)}`, { isFinal: true });
  const texts = { connecting: "Connecting", live: "Live", gone: "Reconnecting", unplayable: "No H.264" };
  const tones = { connecting: "waiting", unplayable: "gone" };
  setStatus(tones[state] ?? state, texts[state]);
}

const elsewhere = ({ hls }) => (hls ? `\nPlayers such as VLC show it at ${new URL(hls, location)}` : "");

// A stream that is not running has nothing to connect to; it tells why.
function showWhyNot(stream) {
  const titles = { starting: "The stream is starting", failed: "The stream failed", ended: "The stream has ended" };
  if (stream.isMissing) announce(`There is no stream ${stream.name}`, "It will be shown as soon as there is one.");
  else if (!stream.whep) announce("This stream is not sent to browsers", "It has no webrtc: output; its numbers are below.", { isFinal: true });
  else announce(titles[stream.state], stream.reason, { isFinal: stream.state === "ended" });
  const tones = { failed: "gone", ended: "over", live: "live" };
  setStatus(tones[stream.state] ?? "waiting", STATES[stream.state] ?? "Waiting");
}

const canBeWatched = ({ whep, state }) => Boolean(whep) && (state === "live" || state === "lost");

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status-text").textContent = text;
}

function showDelay(delayMs) {
  if ($("status").dataset.state !== "live" || !Number.isFinite(delayMs)) return;
  $("status-text").textContent = current?.state === "lost" ? "Source lost" : `Live · ${Math.round(delayMs)} ms`;
}

function announce(title, detail, { isFinal = false } = {}) {
  $("message").hidden = false;
  $("message").classList.toggle("is-final", isFinal);
  $("message-title").textContent = title;
  $("message-detail").textContent = detail;
}

function showView() {
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.setAttribute("aria-pressed", String(button.dataset.zoom === String(compare.zoom)));
  }
  $("sweep").setAttribute("aria-pressed", String(compare.isSweeping));
}

function go(address) {
  history.pushState(null, "", address);
  route();
}

// Which view the address asks for: one stream by name, all of them, or what there is.
function route() {
  const query = new URLSearchParams(location.search);
  const wanted = query.get("stream");
  const only = streams.length === 1 && !query.has("all") ? streams[0].name : null;
  const name = wanted ?? only;
  if (name === null) showAll();
  else watch(streams.find((one) => one.name === name) ?? { name, isMissing: true });
}

function showAll() {
  leave();
  show("overview");
  overview.update(streams);
  const live = streams.filter((one) => one.state === "live").length;
  const isWell = streams.length > 0 && live === streams.length;
  $("summary").textContent = plural(streams.length, "stream");
  setStatus(isWell ? "live" : "waiting", streams.length ? (isWell ? "All live" : `${live} of ${streams.length} live`) : "Waiting");
  document.title = "Streamer";
}

function leave() {
  current = null;
  isConnected = false;
  receiver.stop();
}

function watch(stream) {
  if (current?.name !== stream.name) {
    leave();
    show("watch");
    compare.forget();
    forgetStream();
    document.title = `${stream.name} · Streamer`;
  }
  current = stream;
  showNames();
  if (canBeWatched(stream)) {
    if (!isConnected) receiver.start(`${stream.whep}?view=compare`);
    isConnected = true;
  } else {
    if (isConnected) receiver.stop();
    isConnected = false;
    showWhyNot(stream);
  }
}

function show(view) {
  $("overview-view").hidden = view !== "overview";
  $("watch-view").hidden = view !== "watch";
  $("summary").hidden = view !== "overview";
  overview.show(view === "overview");
  showNames();
}

function showNames() {
  const names = streams.map((one) => one.name);
  const select = $("stream-select");
  if ([...select.options].map((one) => one.value).join() !== names.join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  const canPick = current && names.length > 1 && names.includes(current.name);
  $("stream-picker").hidden = !canPick;
  $("stream-name").hidden = !current || canPick;
  $("stream-name").textContent = current?.name ?? "";
  if (canPick) select.value = current.name;
}

async function poll() {
  clearTimeout(pollTimer);
  try {
    const found = await fetchJson("/api/streams");
    streams = found.streams;
    $("empty-hint").hidden = !found.can_add;
    route();
    if (current && !current.isMissing) await showNumbers(current);
    isAnswering = true;
  } catch {
    showSilence();
  }
  showBrowser(await receiver.statistics().catch(() => null));
  if (isConnected) receiver.checkForSilence();
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, POLL_MS);
}

async function showNumbers(stream) {
  const numbers = await fetchJson(stream.statistics);
  if (current?.name !== stream.name) return; // another was chosen meanwhile
  showStream(numbers);
  compare.setSampleAspect(numbers.output?.sample_aspect ?? 1);
  showDelay(numbers.latency_ms?.arrived_to_sent?.p50);
  $("sound").hidden = !numbers.audio;
}

function showSilence() {
  if (isAnswering && receiver.connection?.connectionState !== "connected") {
    announce("The server does not answer", "Trying again by itself.");
    setStatus("gone", "Server gone");
  }
  isAnswering = false;
}

async function fetchJson(url) {
  const response = await request(url, { cache: "no-store", ...within(4000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.json();
}

// The message goes when a frame of the new connection has been drawn.
function watchForPicture() {
  const isShowing = stage.classList.contains("has-picture") && receiver.connection?.connectionState === "connected";
  if (isShowing && !$("message").hidden) $("message").hidden = true;
  requestAnimationFrame(watchForPicture);
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else stage.requestFullscreen?.();
}

const shortcuts = {
  0: () => compare.setZoom("fit"),
  1: () => compare.setZoom(1),
  2: () => compare.setZoom(2),
  4: () => compare.setZoom(4),
  s: () => compare.setSweeping(!compare.isSweeping),
  m: () => { if (!$("sound").hidden) setMuted(!$("video").muted); },
  f: toggleFullscreen,
};

$("fullscreen").hidden = !document.fullscreenEnabled;
$("fullscreen").addEventListener("click", toggleFullscreen);
$("sweep").addEventListener("click", shortcuts.s);
$("sound").addEventListener("click", shortcuts.m);
for (const button of document.querySelectorAll("[data-zoom]")) {
  const { zoom } = button.dataset;
  button.addEventListener("click", () => compare.setZoom(zoom === "fit" ? zoom : Number(zoom)));
}
$("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return; // a new tab
  event.preventDefault();
  if (!overview.isShown) go("/?all");
});
$("stream-select").addEventListener("change", (event) => go(`?stream=${encodeURIComponent(event.target.value)}`));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  if (current) shortcuts[event.key.toLowerCase()]?.();
});
window.addEventListener("popstate", () => route());
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) route();
});

setMuted(true);
showView();
announce("Connecting", "");
poll();
watchForPicture();
