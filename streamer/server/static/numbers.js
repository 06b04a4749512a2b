// Shows the numbers of the stream and of this browser; every field may be missing.

const HISTORY = 60;
const TIER_COLOURS = { lite: "#6fd6c4", nano: "#5aa9d6", plain: "#7d8a99" };
const OTHER_TIER = "#8f8fe0";
const CODECS = { h264: "H.264", hevc: "H.265", h265: "H.265", av1: "AV1", vp8: "VP8", vp9: "VP9", mjpeg: "MJPEG" };

const fields = Object.fromEntries(
  [...document.querySelectorAll("[data-field]")].map((element) => [element.dataset.field, element]),
);
const history = [];
let before = null;
let tiersBefore = {};
let cleanedBefore = 0;

export function showStream(numbers) {
  // What is not known yet may be missing as well as null.
  const { source, output, fps, frames, latency_ms: latency } = Object.fromEntries(
    ["source", "output", "fps", "frames", "latency_ms"].map((name) => [name, numbers[name] ?? {}]),
  );
  put("output-size", size(output));
  put("input-size", size(source));
  put("fps", source.width ? `${rate(fps.in ?? source.fps)} → ${rate(fps.out ?? output.fps)} fps` : "");
  const codec = CODECS[source.codec] ?? source.codec;
  put("codec", codec ? `${codec} source` : "");
  const whole = latency.arrived_to_sent ?? {};
  put("latency-p50", milliseconds(whole.p50));
  put("latency-p95", milliseconds(whole.p95));
  plot(whole.p95);
  put("tier", numbers.tier || "–");
  showTiers(numbers.tiers ?? {});
  showSteps(numbers.steps ?? []);
  showEngines(numbers.engines ?? [], numbers.tier, numbers.notice, (frames.cleaned ?? 0) > cleanedBefore);
  showMade(frames, numbers.prediction_gain_db);
  const shown = numbers.webrtc?.find((one) => one.name === "compare");
  put("bitrate", grouped(output.bitrate_kbps ?? shown?.bitrate_kbps));
  const drops = Object.values(frames.dropped ?? {}).reduce((sum, count) => sum + count, 0);
  put("drops", grouped(drops));
  fields.drops.title = Object.entries(frames.dropped ?? {}).map(([why, count]) => `${why}: ${count}`).join("\n");
  fields.drops.classList.toggle("is-warned", drops > 0);
  put("viewers", numbers.viewers === undefined ? "" : plural(numbers.viewers, "viewer"));
}

// Another stream is shown: nothing of the one before stays.
export function forgetStream() {
  history.length = 0;
  tiersBefore = {};
  cleanedBefore = 0;
  document.querySelector("#spark path").removeAttribute("d");
  showStream({});
}

export function showBrowser(inbound) {
  if (!inbound) {
    before = null;
    for (const name of ["browser-fps", "browser-health"]) put(name, "–");
    put("browser-buffer", "");
    return;
  }
  const last = before?.id === inbound.id ? before : null;
  before = inbound;
  const seconds = last ? (inbound.timestamp - last.timestamp) / 1000 : 0;
  if (seconds > 0) put("browser-fps", rate((inbound.framesDecoded - last.framesDecoded) / seconds));
  const dropped = inbound.framesDropped ?? 0;
  const freezes = inbound.freezeCount ?? 0;
  put("browser-health", `${grouped(dropped)} dropped · ${plural(freezes, "freeze")}`);
  const emitted = inbound.jitterBufferEmittedCount - (last?.jitterBufferEmittedCount ?? 0);
  const held = inbound.jitterBufferDelay - (last?.jitterBufferDelay ?? 0);
  put("browser-buffer", emitted > 0 ? `buffer ${milliseconds((held / emitted) * 1000)} ms` : "");
}

function showTiers(tiers) {
  const total = Object.values(tiers).reduce((sum, count) => sum + count, 0);
  const shares = Object.entries(tiers).filter(([, count]) => count > 0).sort(([, one], [, other]) => other - one);
  // A dot goes with what follows it: lines that have no room are left out.
  const text = shares.map(([name, count]) => `${percent(count / total)}\u00a0${name}`).join(" ·\u00a0");
  put("tier-share", text);
  fields["tier-share"].title = text;
  const bar = document.getElementById("share");
  bar.replaceChildren(
    ...shares.map(([name, count]) => {
      const part = document.createElement("i");
      part.style.width = `${(100 * count) / total}%`;
      part.style.background = TIER_COLOURS[name] ?? OTHER_TIER;
      return part;
    }),
  );
}

// Whether most frames since the last call were scaled without a network, and left as noisy as they came.
export function isMostlyPlain({ tiers = {}, frames } = {}) {
  const cleaned = (frames?.cleaned ?? 0) - cleanedBefore;
  cleanedBefore = frames?.cleaned ?? 0;
  const since = Object.entries(tiers).map(([name, count]) => [name, count - (tiersBefore[name] ?? 0)]);
  tiersBefore = tiers;
  const total = since.reduce((sum, [, count]) => sum + count, 0);
  const plain = since.find(([name]) => name === "plain")?.[1] ?? 0;
  return total > 0 && plain > total / 2 && cleaned < total / 2;
}

// The newest step for a while, the others where the pointer rests.
function showSteps(steps) {
  const texts = steps.map(({ from, to, reason, ago_s: ago }) => `${from} → ${to}, ${reason.replace("_", " ")}, ${grouped(ago)} s ago`);
  put("step", steps.length && steps[0].ago_s < 10 ? `${steps[0].reason.replace("_", " ")} ${grouped(steps[0].ago_s)} s ago` : "");
  fields.tier.title = texts.join("\n");
}

function showMade(frames, gain) {
  const counts = ["interpolated", "predicted", "repeated"].map((origin) => [origin, frames[origin] ?? 0]);
  const made = counts.filter(([, count]) => count > 0);
  const count = made.reduce((sum, [, number]) => sum + number, 0);
  put("made", count ? `${percent(count / frames.sent)} made` : "");
  const lines = made.map(([name, number]) => `${name}: ${grouped(number)}`);
  if (Number.isFinite(gain)) lines.push(`prediction is ${gain.toFixed(1)} dB better than repetition`);
  fields.made.title = lines.join("\n");
}

// The one that makes the picture now, all of them where the pointer rests.
function showEngines(engines, tier, notice, isCleaned) {
  const isPlain = tier === "plain";
  const engine = isPlain ? null : (engines.find((one) => one.model.includes(`-${tier}-`)) ?? engines[0]);
  put("engine", engine?.model ?? "–");
  const parts = engine ? [engine.backend, engine.precision, engine.device].filter(Boolean) : [];
  if (isPlain) parts.push("plain upscale");
  if (isCleaned) parts.push("denoised");
  put("engine-detail", parts.join(" · "));
  put("notice", notice ?? "");
  fields.engine.title = engines.map((one) => `${one.model} (${one.backend}, ${one.precision}, ${one.device})`).join("\n");
}

function plot(value) {
  if (!Number.isFinite(value)) return;
  history.push(value);
  if (history.length > HISTORY) history.shift();
  if (history.length < 2) return;
  const top = Math.max(...history) * 1.15 || 1;
  const points = history.map((one, index) => {
    const x = (index / (history.length - 1)) * 120;
    return `${x.toFixed(1)},${(27 - (one / top) * 26).toFixed(1)}`;
  });
  document.querySelector("#spark path").setAttribute("d", `M${points.join("L")}`);
}

function put(name, text) {
  if (fields[name].textContent !== text) fields[name].textContent = text;
}

const size = ({ width, height }) => (width && height ? `${width}×${height}` : "–");
export const rate = (value) => (Number.isFinite(value) ? String(Number(value.toFixed(value < 10 ? 1 : 0))) : "–");
export const milliseconds = (value) => (Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : "–");
export const grouped = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");
const percent = (share) => `${share > 0 && share < 0.01 ? "<1" : share > 0.99 && share < 1 ? ">99" : Math.round(share * 100)}\u00a0%`;
export const plural = (count, word) => `${grouped(count)} ${word}${count === 1 ? "" : "s"}`;
