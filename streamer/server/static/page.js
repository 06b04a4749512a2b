// The page: all streams or one of them, whether it arrives, and how it is looked at.

import { request, within } from "./access.js";
import { Compare } from "./compare.js";
import { Player, showAddress } from "./hls.js";
import { forgetStream, isMostlyPlain, plural, showBrowser, showStream } from "./numbers.js";
import { Overview, STATES } from "./overview.js";
import { Receiver } from "./whep.js";

const POLL_MS = 1000;
const AWAY_MS = 10_000;
const OPEN_H264 = "In Firefox, turn on OpenH264 among the plugins of about:addons; then the picture comes by itself.";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
let streams = [];
let current = null;
let only = null; // the name of the stream that is shown for being the only one
let silence = null; // what is said of a server that does not answer
let way = null; // "webrtc" or "hls": how the picture comes, or is meant to
let isAway = false; // in a tab that nobody has seen for a while
let awayTimer = 0;
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

const player = new Player({
  video: $("player"),
  onPlaying() {
    $("message").hidden = true;
    setStatus("live", "Live");
    $("delay").textContent = " · HLS";
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
  get way() { return way; },
  get connectionState() { return receiver.connection?.connectionState ?? "closed"; },
});

// Browsers play by themselves only what is silent; a page that was clicked may sound.
function play() {
  $("video").play().catch(() => setMuted(true));
}

function setMuted(isMuted) {
  $("video").muted = isMuted;
  isSwitchingSound = way === "webrtc" && receiver.wantsSound === isMuted;
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

const hasWebRtc = "RTCPeerConnection" in window;
const elsewhere = ({ hls }) => (hls ? `\nPlayers such as VLC show it at ${new URL(hls, location)}` : "");

// A stream that is not running has nothing to connect to; it tells why.
function showWhyNot(stream) {
  const titles = { starting: "The stream is starting", failed: "The stream failed", ended: "The stream has ended" };
  const runs = stream.state === "live" || stream.state === "lost";
  const onlyHls = `Only as HLS, which this browser does not play by itself.${elsewhere(stream)}`;
  if (stream.isMissing) announce(`There is no stream ${stream.name}`, "It will be shown as soon as there is one.");
  else if (!runs) announce(titles[stream.state], stream.reason, { isFinal: stream.state !== "starting" });
  else if (stream.whep) announce("This browser has no WebRTC", `Turn it on, or use another browser.${elsewhere(stream)}`, { isFinal: true });
  else announce("This stream is not sent to browsers", stream.hls ? onlyHls : "It has no webrtc: output; its numbers are below.", { isFinal: true });
  const tones = { failed: "gone", ended: "over", live: "live" };
  setStatus(tones[stream.state] ?? "waiting", STATES[stream.state] ?? "Waiting");
}

function wayTo({ whep, hls, state }) {
  if (state !== "live" && state !== "lost") return null;
  if (whep && hasWebRtc) return "webrtc";
  return hls && player.canPlay ? "hls" : null;
}

// It is read out when it changes, so what changes every second stands beside it.
function setStatus(state, text) {
  $("status").dataset.state = state;
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
  if (state !== "live") $("delay").textContent = "";
}

function showDelay(delayMs) {
  if (way !== "webrtc" || receiver.connection?.connectionState !== "connected") return;
  const isLost = current.state === "lost";
  setStatus(isLost ? "waiting" : "live", isLost ? STATES.lost : "Live");
  if (!isLost) $("delay").textContent = Number.isFinite(delayMs) ? ` · ${Math.round(delayMs)} ms` : "";
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
  only = null;
  route();
}

// Which view the address asks for: one stream by name, all of them, or what there is. Who watches the
// only one stays with it when others come.
function route() {
  if (isAway) return;
  const query = new URLSearchParams(location.search);
  const wanted = query.get("stream");
  if (query.has("all") || !streams.some((one) => one.name === only)) only = null;
  if (streams.length === 1 && !query.has("all")) only = streams[0].name;
  const name = wanted ?? only;
  if (name === null) showAll();
  else watch(streams.find((one) => one.name === name) ?? { name, isMissing: true });
}

function showAll() {
  leave();
  show("overview");
  overview.update(streams);
  $("hls-open").hidden = true;
  const live = streams.filter((one) => one.state === "live").length;
  const isWell = streams.length > 0 && live === streams.length;
  $("summary").textContent = plural(streams.length, "stream");
  setStatus(isWell ? "live" : "waiting", streams.length ? (isWell ? "All live" : `${live} of ${streams.length} live`) : "Waiting");
  $("delay").textContent = "";
  document.title = "Streamer";
}

function leave() {
  current = null;
  hangUp();
}

function hangUp() {
  way = null;
  receiver.stop();
  player.stop();
  $("video").srcObject = null;
}

function watch(stream) {
  if (current?.name !== stream.name) {
    leave();
    show("watch");
    compare.forget();
    forgetStream();
    document.title = `${stream.name} · Streamer`;
  }
  if (stream.isMissing && !current?.isMissing) forgetStream();
  current = stream;
  showNames();
  $("hls-open").hidden = !stream.hls;
  const wanted = wayTo(stream);
  if (wanted === null) {
    hangUp();
    showWhyNot(stream);
  } else if (wanted !== way) {
    hangUp();
    way = wanted;
    if (way === "webrtc") receiver.start(`${stream.whep}?view=compare`);
    else {
      announce("Connecting", "");
      setStatus("waiting", "Connecting");
      player.start(stream.hls);
    }
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
    silence = null;
  } catch (error) {
    showSilence(error);
  }
  document.body.classList.toggle("is-silent", silence !== null);
  showBrowser(way === "hls" ? player.statistics() : await receiver.statistics().catch(() => null));
  if (way === "webrtc") receiver.checkForSilence();
  player.checkForSilence();
  clearTimeout(pollTimer);
  if (!isAway) pollTimer = setTimeout(poll, POLL_MS);
}

async function showNumbers(stream) {
  const numbers = await fetchJson(stream.statistics);
  if (current?.name !== stream.name) return; // another was chosen meanwhile
  showStream(numbers);
  compare.setSampleAspect(numbers.output?.sample_aspect ?? 1);
  compare.setEnhanced(!isMostlyPlain(numbers));
  showDelay(numbers.latency_ms?.arrived_to_sent?.p50);
  $("sound").hidden = !numbers.audio;
}

function showSilence(error) {
  const said = error instanceof Refused ? error.message : "The server does not answer";
  const isReceiving = way === "hls" ? player.isPlaying : receiver.connection?.connectionState === "connected";
  if (!isReceiving && (said !== silence || $("message").hidden)) {
    announce(said, "Trying again by itself.");
    setStatus("gone", error instanceof Refused ? "Refused" : "Server gone");
  }
  silence = said;
}

// The server answered, but not with what was asked for; it says why.
class Refused extends Error {}

async function fetchJson(url) {
  const response = await request(url, { cache: "no-store", ...within(4000) });
  if (!response.ok) {
    const said = (await response.text()).trim() || `The server answered ${response.status}`;
    throw new Refused(said[0].toUpperCase() + said.slice(1));
  }
  return response.json();
}

// A tab that nobody sees costs the server an encoder; it is silent, or it would be heard.
function watchForAbsence() {
  clearTimeout(awayTimer);
  if (document.visibilityState === "hidden") awayTimer = setTimeout(goAway, AWAY_MS);
  else if (isAway) {
    isAway = false;
    poll();
  }
}

function goAway() {
  const isHeard = (way === "webrtc" && !$("video").muted) || (way === "hls" && !$("player").muted);
  if (isHeard) return;
  isAway = true;
  clearTimeout(pollTimer);
  hangUp();
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

$("hls-open").addEventListener("click", () => showAddress(new URL(current.hls, location).href));
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
  if (way === "webrtc") shortcuts[event.key.toLowerCase()]?.();
});
document.addEventListener("visibilitychange", watchForAbsence);
window.addEventListener("popstate", () => {
  only = null;
  route();
});
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) route();
});

setMuted(true);
showView();
announce("Connecting", "");
poll();
watchForAbsence();
watchForPicture();
