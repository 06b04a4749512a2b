// The page: which stream is shown, whether it arrives, and how it is looked at.

import { Compare } from "./compare.js";
import { showBrowser, showStream } from "./numbers.js";
import { Receiver } from "./whep.js";

const POLL_MS = 1000;
const LIST_EVERY = 5;

const $ = (id) => document.getElementById(id);
const stage = $("stage");
let streams = [];
let current = null;
let polls = 0;
let isAnswering = true;

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
    compare.forget();
    $("video").srcObject = stream;
    $("video").play().catch(() => {});
  },
});

// For the tests and for the curious; it only tells.
window.streamerPage = Object.freeze({
  get stream() { return current?.name ?? null; },
  get framesDrawn() { return compare.framesDrawn; },
  get framesDecoded() { return receiver.decodedBefore + receiver.decoded; },
  get freezeCount() { return receiver.freezes; },
  get dividerPosition() { return compare.position; },
  get isSweeping() { return compare.isSweeping; },
  get zoom() { return compare.zoom; },
  get connectionState() { return receiver.connection?.connectionState ?? "closed"; },
});

function showState(state, detail) {
  if (state === "connecting" && receiver.attempt === 0) announce("Connecting", "");
  if (state === "gone") announce(detail, "Trying again by itself.");
  const texts = { connecting: "Connecting", live: "Live", gone: "Reconnecting" };
  $("status").dataset.state = state === "connecting" ? "waiting" : state;
  $("status-text").textContent = texts[state];
}

function showDelay(delayMs) {
  if ($("status").dataset.state !== "live" || !Number.isFinite(delayMs)) return;
  $("status-text").textContent = `Live · ${Math.round(delayMs)} ms`;
}

function announce(title, detail) {
  $("message").hidden = false;
  $("message-title").textContent = title;
  $("message-detail").textContent = detail;
}

function showView() {
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.setAttribute("aria-pressed", String(button.dataset.zoom === String(compare.zoom)));
  }
  $("sweep").setAttribute("aria-pressed", String(compare.isSweeping));
}

function choose(stream) {
  current = stream;
  $("stream-name").textContent = stream.name;
  $("stream-select").value = stream.name;
  document.title = `${stream.name} · Streamer`;
  receiver.start(`${stream.whep}?view=compare`);
}

async function list() {
  const found = (await fetchJson("/api/streams")).streams;
  const isSame = found.map((one) => one.name).join() === streams.map((one) => one.name).join();
  streams = found;
  if (!isSame) {
    $("stream-select").replaceChildren(...found.map((one) => new Option(one.name, one.name)));
    $("stream-picker").hidden = found.length < 2;
    $("stream-name").hidden = found.length > 1;
  }
  if (current && found.some((one) => one.name === current.name)) {
    $("stream-select").value = current.name;
    return;
  }
  const wanted = new URLSearchParams(location.search).get("stream");
  const first = found.find((one) => one.name === wanted) ?? found[0];
  if (first) {
    choose(first);
  } else {
    announce("No stream is running", "It will appear here as soon as there is one.");
    $("status-text").textContent = "Waiting";
  }
}

async function poll() {
  try {
    if (!current || polls % LIST_EVERY === 0) await list();
    if (current) {
      const numbers = await fetchJson(current.statistics);
      showStream(numbers);
      compare.setSampleAspect(numbers.output?.sample_aspect ?? 1);
      showDelay(numbers.latency_ms?.arrived_to_sent?.p50);
    }
    isAnswering = true;
  } catch {
    if (isAnswering && receiver.connection?.connectionState !== "connected") {
      announce("The server does not answer", "Trying again by itself.");
      $("status").dataset.state = "gone";
      $("status-text").textContent = "Server gone";
    }
    isAnswering = false;
  }
  showBrowser(await receiver.statistics().catch(() => null));
  receiver.checkForSilence();
  polls += 1;
  setTimeout(poll, POLL_MS);
}

async function fetchJson(url) {
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(4000) });
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
  f: toggleFullscreen,
};

$("fullscreen").hidden = !document.fullscreenEnabled;
$("fullscreen").addEventListener("click", toggleFullscreen);
$("sweep").addEventListener("click", shortcuts.s);
for (const button of document.querySelectorAll("[data-zoom]")) {
  const { zoom } = button.dataset;
  button.addEventListener("click", () => compare.setZoom(zoom === "fit" ? zoom : Number(zoom)));
}
$("stream-select").addEventListener("change", (event) => {
  choose(streams.find((one) => one.name === event.target.value));
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select")) return;
  shortcuts[event.key.toLowerCase()]?.();
});
window.addEventListener("pagehide", () => receiver.stop());
window.addEventListener("pageshow", (event) => {
  if (event.persisted && current) choose(current);
});

showView();
announce("Connecting", "");
poll();
watchForPicture();
