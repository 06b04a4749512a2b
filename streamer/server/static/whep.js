// Receives one stream over WHEP and keeps on trying when the connection dies.

import { request, within } from "./access.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const GATHER_MS = 1000;
const ANSWER_MS = 8000;
const LEAVE_MS = 2000;
const SILENT_MS = 5000;

export class Receiver {
  // `onState(state, detail)` with state connecting, live, gone or unplayable; `onStream(mediaStream)`.
  constructor({ onState, onStream }) {
    this.onState = onState;
    this.onStream = onStream;
    this.connection = null;
    this.session = null;
    this.attempt = 0;
    this.generation = 0;
    this.timer = 0;
    this.wantsSound = false;
    this.lastFrame = 0;
    this.decodedBefore = 0;
    this.decoded = 0;
    this.freezes = 0;
    this.soundBytes = 0;
  }

  // A new connection to `url`; whatever was open before is closed.
  start(url) {
    this.url = url;
    this.attempt = 0;
    this.#open();
  }

  // Browsers hold the picture back until its sound can be played, also while that is muted: by 75 to
  // 230 ms where the picture alone waits for 10. So sound is asked for only where it is heard.
  setSound(wantsSound) {
    if (wantsSound === this.wantsSound) return;
    this.wantsSound = wantsSound;
    if (this.connection) this.start(this.url);
  }

  stop() {
    this.generation += 1;
    clearTimeout(this.timer);
    const { connection, session } = this;
    this.connection = this.session = null;
    this.decodedBefore += this.decoded;
    this.decoded = 0;
    // The good-bye goes first: once the connection is closed the server has forgotten the session.
    if (session) leave(session).finally(() => connection.close());
    else connection?.close();
  }

  // What the browser counts about the video it receives, or null.
  async statistics() {
    if (!this.connection) return null;
    const report = await this.connection.getStats();
    const inbounds = [...report.values()].filter((one) => one.type === "inbound-rtp");
    this.soundBytes = inbounds.find((one) => one.kind === "audio")?.bytesReceived ?? 0;
    const inbound = inbounds.find((one) => one.kind === "video");
    if (!inbound) return null;
    if ((inbound.framesDecoded ?? 0) > this.decoded) this.lastFrame = performance.now();
    this.decoded = inbound.framesDecoded ?? 0;
    this.freezes = inbound.freezeCount ?? 0;
    return inbound;
  }

  // Call now and then: a connection that is up but brings nothing is begun anew.
  checkForSilence() {
    if (!["connected", "disconnected"].includes(this.connection?.connectionState)) return;
    if (performance.now() - this.lastFrame > SILENT_MS && document.visibilityState === "visible") {
      this.#retry("No picture is arriving.");
    }
  }

  async #open() {
    this.stop();
    const generation = this.generation;
    this.onState("connecting", "");
    const connection = new RTCPeerConnection({ iceServers: [] });
    this.connection = connection;
    this.lastFrame = performance.now();
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    askForLowDelay(receiver);
    // In one stream with the picture the sound stays in step.
    if (this.wantsSound) connection.addTransceiver("audio", { direction: "recvonly" });
    const media = new MediaStream();
    connection.ontrack = (event) => {
      if (generation !== this.generation) return;
      media.addTrack(event.track);
      if (event.track.kind === "video") this.onStream(media);
    };
    connection.onconnectionstatechange = () => {
      if (generation !== this.generation) return;
      const state = connection.connectionState;
      if (state === "connected") {
        this.attempt = 0;
        this.onState("live", "");
      } else if (state === "failed" || state === "closed") {
        this.#retry("The connection was lost.");
      }
    };
    try {
      const offer = await connection.createOffer();
      await connection.setLocalDescription({ type: "offer", sdp: withStereo(offer.sdp) });
      await gathered(connection);
      const { answer, session } = await exchange(this.url, connection.localDescription.sdp);
      if (generation !== this.generation) {
        leave(session);
        return;
      }
      this.session = session;
      await connection.setRemoteDescription({ type: "answer", sdp: answer });
      // A server that hangs up closes DTLS; `connectionState` tells that half a minute later.
      receiver.transport?.addEventListener("statechange", () => {
        const isOver = ["closed", "failed"].includes(receiver.transport.state);
        if (isOver && generation === this.generation) this.#hungUp();
      });
    } catch (error) {
      if (generation === this.generation) this.#retry(explain(error), error.state);
    }
  }

  #hungUp() {
    this.session = null;
    this.#retry("The connection was lost.");
  }

  #retry(reason, state = "gone") {
    this.stop();
    const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
    this.attempt += 1;
    this.onState(state, reason);
    this.timer = setTimeout(() => this.#open(), wait);
  }
}

function askForLowDelay(receiver) {
  // Frames leave the server at an even pace; holding them back here would only add delay.
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}

// Chromium and Safari mix to one channel whoever does not ask for two, and have no other way to ask.
function withStereo(sdp) {
  const type = sdp.match(/^a=rtpmap:(\d+) opus\/48000\/2\r$/m)?.[1];
  const parameters = new RegExp(`^a=fmtp:${type} (?!(?:.*[; ])?stereo=)[^\\r]*`, "m");
  return type ? sdp.replace(parameters, "$&;stereo=1") : sdp;
}

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") resolve();
    });
  });
}

async function exchange(url, offer) {
  const response = await request(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: offer,
    ...within(ANSWER_MS),
  });
  const body = await response.text();
  if (response.status === 406) throw new Unplayable("This browser cannot receive H.264 over WebRTC");
  if (response.status !== 201) throw new Refusal(body.trim() || `The server answered ${response.status}.`);
  return { answer: body, session: response.headers.get("Location") };
}

async function leave(session) {
  await request(session, { method: "DELETE", keepalive: true, ...within(LEAVE_MS) }).catch(() => {});
}

class Refusal extends Error {}

class Unplayable extends Error {
  state = "unplayable";
}

function explain(error) {
  if (error instanceof Refusal) return error.message[0].toUpperCase() + error.message.slice(1);
  if (error instanceof TypeError || error.name === "TimeoutError") return "The server does not answer.";
  return error.message;
}
