// <task-progress src="/tasks/..."> displays the progress of a task and how it ended.
//
// Attributes: src (the address of the state; the socket is at src + "/live"), label (the bar's name for screen readers),
//   lang (es or en; the page's own by default). The element sets status to that of the state, for CSS.
// Events, which bubble, with the state as detail: task-progress:update, task-progress:done, task-progress:failed, and
//   task-progress:refused (with {status}) where the address is no longer valid.
// Children: slot="done" is displayed after success, slot="failed" after a failure.
// CSS: --task-progress-color, -done, -failed, -track, -height, -radius; ::part(bar), ::part(track), ::part(text).

const TEXTS = {
  en: {
    bar: "Progress", connecting: "Connecting…", unknown: "No news yet", queued: "Waiting for its turn",
    queuedIn: (time) => `Begins in ${time}`,
    started: "Working", progress: "Working", success: "Done", failure: "It failed", revoked: "It was cancelled",
    retry: "It did not work; retrying", retryIn: (time) => `It did not work; retrying in ${time}`,
    of: (done, total) => `${done} of ${total}`, left: (time) => `${time} left`,
    wentWrong: (kind) => `Something went wrong (${kind}).`, calledOff: () => "It was called off.",
    tooLate: () => "It was not started in time.",
    offline: "No connection; retrying", refused: "This can no longer be followed. Load the page again.",
  },
  es: {
    bar: "Progreso", connecting: "Conectando…", unknown: "Sin noticias todavía", queued: "Esperando su turno",
    queuedIn: (time) => `Empieza en ${time}`,
    started: "En marcha", progress: "En marcha", success: "Terminado", failure: "Ha fallado", revoked: "Cancelado",
    retry: "No ha salido bien; se intenta de nuevo", retryIn: (time) => `No ha salido bien; nuevo intento en ${time}`,
    of: (done, total) => `${done} de ${total}`, left: (time) => `quedan ${time}`,
    wentWrong: (kind) => `Algo ha ido mal (${kind}).`, calledOff: () => "Se ha cancelado.",
    tooLate: () => "No ha empezado a tiempo.",
    offline: "Sin conexión; se intenta de nuevo", refused: "Ya no se puede seguir desde aquí. Vuelve a cargar la página.",
  },
};

// The framework's own error texts, which are translated; a task's own texts are displayed unchanged.
const ERROR_TEXTS = [
  [/^Something went wrong \((.+)\)\.$/, "wentWrong"],
  [/^It was called off\.$/, "calledOff"],
  [/^It was not started in time\.$/, "tooLate"],
];

const STYLES = `
  :host { display: block; --color: var(--task-progress-color, #2563eb); }
  :host([hidden]) { display: none; }
  :host([status="success"]) { --color: var(--task-progress-done, #15803d); }
  :host([status="failure"]), :host([status="revoked"]), :host([status="refused"]) {
    --color: var(--task-progress-failed, #b91c1c); }
  .line { display: flex; justify-content: space-between; gap: 1em; font-variant-numeric: tabular-nums; }
  .name { overflow-wrap: anywhere; }
  .figure { white-space: nowrap; }
  .track { height: var(--task-progress-height, .75em); margin: .35em 0; overflow: hidden;
    border-radius: var(--task-progress-radius, 1em); background: var(--task-progress-track, #8884); }
  .bar { height: 100%; border-radius: inherit; background: var(--color); transition: transform .25s linear;
    transform: translateX(calc((var(--fraction, 0) - 1) * 100%)); }
  :host(:dir(rtl)) .bar { transform: translateX(calc((1 - var(--fraction, 0)) * 100%)); }
  .track:not([aria-valuenow]) .bar { width: 40%; animation: pass 1.6s ease-in-out infinite; }
  :host(:is([status="queued"], [status="retry"], [status="unknown"])) .track:not([aria-valuenow]) .bar {
    animation: none; visibility: hidden; }
  @keyframes pass { from { transform: translateX(-100%); } to { transform: translateX(250%); } }
  .steps { margin: 0; padding: 0; list-style: none; font-size: .875em; }
  .detail { font-size: .875em; min-height: 1.4em; overflow-wrap: anywhere; }
  :host([status="success"]) .detail:empty { display: none; }
  .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  @media (prefers-reduced-motion: reduce) {
    .bar { transition: none; }
    .track:not([aria-valuenow]) .bar { animation: none; transform: none; width: 100%;
      background: repeating-linear-gradient(-45deg, var(--color) 0 .5em, transparent .5em 1em); }
  }
  @media (forced-colors: active) { .track { border: 1px solid; } .bar { background: Highlight; } }
`;

const FINAL_EVENTS = { success: "done", failure: "failed", revoked: "failed" };
// Milliseconds between two polls without a socket, and between two attempts to open one, at first and at most.
const POLL_INTERVAL = 2000;
const FIRST_RECONNECT_DELAY = 500;
const MAX_RECONNECT_DELAY = 15000;
// Milliseconds without a message after which the state is polled too: a page cannot see that a connection is lost.
const SILENCE = 30000;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class TaskProgress extends HTMLElement {
  static observedAttributes = ["src", "label"];
  static #sheet;

  #state = null; // the latest state
  #notice = null; // displayed without a state: connecting, offline, refused
  #socket = null;
  #timers = new Map();
  #reconnectDelay = FIRST_RECONNECT_DELAY;
  #finished = true; // no more requests
  #epoch = 0; // grows when the src changes: responses to earlier requests are ignored
  #clockOffset = 0; // the server's time minus the browser's, in seconds
  #spoken = "";
  #connected = false; // attributeChangedCallback runs before connectedCallback
  #parts = {};

  constructor() {
    super();
    if (!TaskProgress.#sheet) {
      TaskProgress.#sheet = new CSSStyleSheet();
      TaskProgress.#sheet.replaceSync(STYLES);
    }
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [TaskProgress.#sheet];
    this.#parts.name = element("span", { class: "name", part: "text" });
    this.#parts.figure = element("span", { class: "figure", part: "text" });
    this.#parts.bar = element("div", { class: "bar", part: "bar" });
    this.#parts.track = element(
      "div", { class: "track", part: "track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, this.#parts.bar);
    this.#parts.steps = element("ul", { class: "steps", part: "text" });
    this.#parts.detail = element("div", { class: "detail", part: "text" });
    this.#parts.live = element("div", { class: "spoken", role: "status", "aria-live": "polite" });
    this.#parts.done = element("slot", { name: "done", hidden: "" });
    this.#parts.failed = element("slot", { name: "failed", hidden: "" });
    root.append(
      element("div", { class: "line" }, this.#parts.name, this.#parts.figure), this.#parts.track, this.#parts.steps, this.#parts.detail, this.#parts.live,
      this.#parts.done, this.#parts.failed);
  }

  /** The latest state; null where there is none. */
  get state() {
    return this.#state;
  }

  connectedCallback() {
    this.#connected = true;
    this.#begin();
  }

  disconnectedCallback() {
    this.#connected = false;
    this.#stop();
  }

  attributeChangedCallback(name, before, now) {
    if (!this.#connected || before === now) return;
    if (name === "src") this.#begin();
    else this.#show();
  }

  // ---- receiving states

  #begin() {
    this.#stop();
    this.#state = null;
    this.#notice = "connecting";
    this.#spoken = "";
    this.#finished = !this.hasAttribute("src");
    this.#reconnectDelay = FIRST_RECONNECT_DELAY;
    this.#show();
    if (!this.#finished) this.#open();
  }

  #stop() {
    this.#epoch += 1;
    this.#finished = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #later(what, milliseconds, act) {
    clearTimeout(this.#timers.get(what));
    this.#timers.set(what, setTimeout(act, milliseconds));
  }

  get #src() {
    return new URL(this.getAttribute("src"), this.ownerDocument.baseURI);
  }

  #open() {
    const address = this.#src;
    address.protocol = address.protocol.replace("http", "ws");
    address.pathname += "/live";
    const socket = (this.#socket = new WebSocket(address));
    socket.onmessage = (message) => {
      if (socket !== this.#socket) return;
      this.#reconnectDelay = FIRST_RECONNECT_DELAY;
      clearTimeout(this.#timers.get("poll"));
      this.#watchSilence();
      this.#take(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#lost();
    };
    // The state is polled until the socket is open.
    this.#later("poll", POLL_INTERVAL, () => this.#poll());
  }

  #watchSilence() {
    this.#later("silence", SILENCE, () => {
      this.#watchSilence();
      this.#fetchState();
    });
  }

  #lost() {
    if (this.#finished) return;
    clearTimeout(this.#timers.get("silence"));
    this.#poll();
    // A random delay: after a restart of the server every page reconnects.
    this.#later("open", this.#reconnectDelay * (0.5 + Math.random()), () => this.#open());
    this.#reconnectDelay = Math.min(this.#reconnectDelay * 2, MAX_RECONNECT_DELAY);
  }

  async #poll() {
    await this.#fetchState();
    if (!this.#finished && this.#socket?.readyState !== WebSocket.OPEN) this.#later("poll", POLL_INTERVAL, () => this.#poll());
  }

  async #fetchState() {
    const epoch = this.#epoch;
    let response, state;
    try {
      response = await fetch(this.#src, { headers: { Accept: "application/json" }, cache: "no-store" });
      state = await response.json();
    } catch {
      state = null;
    }
    if (epoch !== this.#epoch || this.#finished) return;
    if (response?.status === 403 || response?.status === 410) this.#refuse(response.status);
    else if (state?.status) this.#take(state);
    else this.#notify("offline");
  }

  // ---- processing states

  #take(state) {
    if (this.#finished) return;
    this.#clockOffset = state.now - Date.now() / 1000;
    this.#notice = null;
    const known = this.#state;
    const old = known && (state.status === "unknown" || (!state.final && state.number <= known.number));
    if (!old) this.#state = state;
    if (this.#state.final) this.#stop();
    this.#show();
    if (old) return;
    this.#dispatch("update", state);
    if (state.final) this.#dispatch(FINAL_EVENTS[state.status], state);
  }

  #refuse(status) {
    this.#stop();
    this.#notify("refused");
    this.#dispatch("refused", { status });
  }

  #notify(notice) {
    this.#notice = notice;
    this.#show();
  }

  #dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(`task-progress:${name}`, { detail, bubbles: true, composed: true }));
  }

  // ---- displaying states

  get #language() {
    const language = this.closest("[lang]")?.getAttribute("lang") || navigator.language || "en";
    return language.toLowerCase().startsWith("es") ? language : language.toLowerCase().startsWith("en") ? language : "en";
  }

  get #texts() {
    return TEXTS[this.#language.slice(0, 2).toLowerCase()];
  }

  #number(value) {
    return new Intl.NumberFormat(this.#language, { maximumFractionDigits: 1, useGrouping: "always" }).format(value);
  }

  #time(seconds) {
    const [amount, unit] =
      seconds < 60 ? [Math.max(Math.ceil(seconds), 1), "second"]
      : seconds < 3600 ? [Math.round(seconds / 60), "minute"]
      : [Math.round(seconds / 360) / 10, "hour"];
    return new Intl.NumberFormat(this.#language, { style: "unit", unit, unitDisplay: "long" }).format(amount);
  }

  #show() {
    const state = this.#state;
    const status = this.#notice === "refused" || !state ? this.#notice : state.status;
    const final = Boolean(state?.final);
    const steps = state?.progress?.steps ?? [];
    const fraction = status === "success" ? 1 : state?.progress?.fraction ?? null;
    const percent = fraction === null ? null : Math.floor(fraction * 100);
    const title = this.#title(status);
    this.setAttribute("status", status);
    this.#parts.name.textContent = status === "progress" && steps[0]?.name ? steps[0].name : title;
    this.#parts.figure.textContent = percent === null ? "" : `${this.#number(percent)} %`;
    this.#draw(status, fraction, percent);
    this.#parts.steps.replaceChildren(...(final ? [] : steps.slice(1)).map((step) =>
      element("li", {}, [step.name, this.#count(step)].filter(Boolean).join(": "))));
    this.#parts.detail.textContent = this.#detail(status, steps);
    this.#parts.done.hidden = status !== "success";
    this.#parts.failed.hidden = status !== "failure" && status !== "revoked";
    this.#speak(status, title, percent);
    if (this.#secondsLeft(status) > 0 && !this.#finished) this.#later("count", 500, () => this.#show());
  }

  // Seconds until the task runs, by the server's clock.
  #secondsLeft(status) {
    if ((status !== "retry" && status !== "queued") || !this.#state?.retry_at) return 0;
    return this.#state.retry_at - (Date.now() / 1000 + this.#clockOffset);
  }

  #draw(status, fraction, percent) {
    const stopped = ["failure", "revoked", "refused"].includes(status);
    const track = this.#parts.track;
    track.setAttribute("aria-label", this.getAttribute("label") || this.#texts.bar);
    track.setAttribute("aria-valuetext", [this.#parts.name.textContent, this.#parts.figure.textContent].filter(Boolean).join(", "));
    if (percent === null && !stopped) track.removeAttribute("aria-valuenow");
    else track.setAttribute("aria-valuenow", String(percent ?? 0));
    this.#parts.bar.style.setProperty("--fraction", String(fraction ?? 0));
  }

  #title(status) {
    const texts = this.#texts;
    const left = this.#secondsLeft(status);
    if (left > 0) return texts[`${status}In`](this.#time(left));
    return texts[status] ?? "";
  }

  get #error() {
    const error = this.#state.error ?? "";
    const [pattern, text] = ERROR_TEXTS.find(([each]) => each.test(error)) ?? [];
    return pattern ? this.#texts[text](error.match(pattern)[1]) : error;
  }

  #count(step) {
    if (step.total !== null) return this.#texts.of(this.#number(step.done), this.#number(step.total));
    return step.done ? this.#number(step.done) : "";
  }

  #detail(status, steps) {
    if (this.#notice === "offline" && this.#state) return this.#texts.offline;
    const state = this.#state;
    if (state?.error && status !== "refused") return this.#error;
    if (status !== "progress" || !steps.length) return "";
    const left = state.progress.remaining;
    return [state.progress.message, this.#count(steps[0]), left > 0 ? this.#texts.left(this.#time(left)) : ""]
      .filter(Boolean).join(" · ");
  }

  // A screen reader reads each change of status, each quarter, and the error; not every percent.
  #speak(status, title, percent) {
    const quarter = percent === null ? "" : Math.floor(percent / 25) * 25;
    const key = `${status} ${quarter}`;
    if (key === this.#spoken) return;
    this.#spoken = key;
    const figure = quarter && status === "progress" ? `${this.#number(quarter)} %` : "";
    const why = this.#state?.final ? this.#error : "";
    this.#parts.live.textContent = [title, figure, why].filter(Boolean).join(", ");
  }
}

if (!customElements.get("task-progress")) customElements.define("task-progress", TaskProgress);
