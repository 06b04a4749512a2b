// Asks the server, with the token where it wants one; the token lives as long as the tab.

const KEY = "streamer-token";

const $ = (id) => document.getElementById(id);
const kept = keeper();
let token = kept?.getItem(KEY) ?? null;
let asking = null;

// None in a browser that was told to block all cookies: there the mere look is an error.
function keeper() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

// As `fetch`. When the server wants a token, asks for it once for all who wait, then tries again.
export async function request(url, options = {}) {
  for (;;) {
    const sent = token;
    const response = await fetch(url, { ...options, headers: withToken(options.headers, sent) });
    if (response.status !== 401 || options.keepalive) return response;
    // Another request may have brought a new one while this one was under way.
    if (sent === token) await askForToken(Boolean(sent));
    options = renewed(options);
  }
}

function withToken(headers, sent) {
  return sent ? { ...headers, Authorization: `Bearer ${sent}` } : { ...headers };
}

// The time allowed for an answer does not run while a person looks for the token.
function renewed({ signal, withinMs, ...rest }) {
  return withinMs ? { ...rest, withinMs, signal: AbortSignal.timeout(withinMs) } : rest;
}

export const hasToken = () => token !== null;

// For what the browser fetches by itself, without headers: the server takes it so under /hls/ only.
export const withTokenInAddress = (address) => (token ? `${address}?token=${encodeURIComponent(token)}` : address);

export const within = (withinMs) => ({ withinMs, signal: AbortSignal.timeout(withinMs) });

function askForToken(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = $("access");
    const input = $("access-token");
    kept?.removeItem(KEY);
    token = null;
    $("access-wrong").hidden = !wasWrong;
    input.value = "";
    dialog.showModal();
    $("access-form").onsubmit = (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (!given) return;
      token = given;
      kept?.setItem(KEY, given);
      asking = null;
      dialog.close();
      resolve();
    };
  });
  return asking;
}

// Escape would leave a page that cannot show anything; a second one closes it whatever `cancel` says.
$("access").addEventListener("cancel", (event) => event.preventDefault());
$("access").addEventListener("close", () => {
  if (asking) $("access").showModal();
});
