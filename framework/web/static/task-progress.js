// <task-progress src="/tasks/..."> shows how far a task is, as it goes, and how it ended.
//
// Attributes: src (where its state is; the socket is at src + "/live"), label (what the bar is called for those who
//   hear it), lang (es or en; the page's own otherwise). status is set by the element: the state's, for CSS.
// Events, which bubble, with the state as detail: task-progress:update, task-progress:done, task-progress:failed, and
//   task-progress:refused (with {status}) where the address is no longer good.
// Children: slot="done" is shown after success, slot="failed" after a failure.
// CSS: --task-progress-color, -done, -failed, -track, -height, -radius; ::part(bar), ::part(track), ::part(text).

const TEXTS = {
  en: {
    bar: "Progress", connecting: "Connecting…", unknown: "No news yet", queued: "Waiting for its turn",
    queuedIn: (time) => `Begins in ${time}`,
    started: "Working", progress: "Working", success: "Done", failure: "It failed", revoked: "It was cancelled",
    retry: "It did not work; trying again", retryIn: (time) => `It did not work; trying again in ${time}`,
    of: (done, total) => `${done} of ${total}`, left: (time) => `${time} left`,
    wentWrong: (kind) => `Something went wrong (${kind}).`, calledOff: () => "It was called off.",
    tooLate: () => "It was not started in time.",
    offline: "No connection; trying again", refused: "This can no longer be followed. Load the page again.",
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

// What the framework itself says of an error, to be said in the page's language; a task's own words are left as they are.
const OURS = [
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
// Milliseconds: between looks while there is no socket, and between tries to open one, at first and at most.
const POLL = 2000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;
// A socket on which nothing came for so long may be lost, which pages cannot see: then the state is asked for too.
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

  #state = null; // the newest state
  #shown = null; // what the element says when there is none: connecting, offline, refused
  #socket = null;
  #timers = new Map();
  #pause = FIRST_PAUSE;
  #over = true; // nothing more is to be asked
  #epoch = 0; // grows when the src changes: answers to older questions are not for us
  #clock = 0; // the server's time less ours, in seconds
  #spoken = "";
  #connected = false; // an element of the page is told of its attributes first
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

  /** The newest state; null where there is none. */
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

  // ---- where states come from

  #begin() {
    this.#stop();
    this.#state = null;
    this.#shown = "connecting";
    this.#spoken = "";
    this.#over = !this.hasAttribute("src");
    this.#pause = FIRST_PAUSE;
    this.#show();
    if (!this.#over) this.#open();
  }

  #stop() {
    this.#epoch += 1;
    this.#over = true;
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
      this.#pause = FIRST_PAUSE;
      clearTimeout(this.#timers.get("poll"));
      this.#watchSilence();
      this.#take(JSON.parse(message.data));
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#lost();
    };
    // Until it is open, and where it never is, the state is asked for.
    this.#later("poll", POLL, () => this.#poll());
  }

  #watchSilence() {
    this.#later("silence", SILENCE, () => {
      this.#watchSilence();
      this.#ask();
    });
  }

  #lost() {
    if (this.#over) return;
    clearTimeout(this.#timers.get("silence"));
    this.#poll();
    // Not all at once: after a restart of the server every page comes back.
    this.#later("open", this.#pause * (0.5 + Math.random()), () => this.#open());
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  async #poll() {
    await this.#ask();
    if (!this.#over && this.#socket?.readyState !== WebSocket.OPEN) this.#later("poll", POLL, () => this.#poll());
  }

  async #ask() {
    const epoch = this.#epoch;
    let answer, state;
    try {
      answer = await fetch(this.#src, { headers: { Accept: "application/json" }, cache: "no-store" });
      state = await answer.json();
    } catch {
      state = null;
    }
    if (epoch !== this.#epoch || this.#over) return;
    if (answer?.status === 403 || answer?.status === 410) this.#refuse(answer.status);
    else if (state?.status) this.#take(state);
    else this.#say("offline");
  }

  // ---- what becomes of them

  #take(state) {
    if (this.#over) return;
    this.#clock = state.now - Date.now() / 1000;
    this.#shown = null;
    const known = this.#state;
    const old = known && (state.status === "unknown" || (!state.final && state.number <= known.number));
    if (!old) this.#state = state;
    if (this.#state.final) this.#stop();
    this.#show();
    if (old) return;
    this.#tell("update", state);
    if (state.final) this.#tell(FINAL_EVENTS[state.status], state);
  }

  #refuse(status) {
    this.#stop();
    this.#say("refused");
    this.#tell("refused", { status });
  }

  #say(what) {
    this.#shown = what;
    this.#show();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`task-progress:${name}`, { detail, bubbles: true, composed: true }));
  }

  // ---- what is seen and heard

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
    const status = this.#shown === "refused" || !state ? this.#shown : state.status;
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
    if (this.#secondsLeft(status) > 0 && !this.#over) this.#later("count", 500, () => this.#show());
  }

  // Until it runs, by the server's clock.
  #secondsLeft(status) {
    if ((status !== "retry" && status !== "queued") || !this.#state?.retry_at) return 0;
    return this.#state.retry_at - (Date.now() / 1000 + this.#clock);
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
    const said = this.#state.error ?? "";
    const [pattern, text] = OURS.find(([each]) => each.test(said)) ?? [];
    return pattern ? this.#texts[text](said.match(pattern)[1]) : said;
  }

  #count(step) {
    if (step.total !== null) return this.#texts.of(this.#number(step.done), this.#number(step.total));
    return step.done ? this.#number(step.done) : "";
  }

  #detail(status, steps) {
    if (this.#shown === "offline" && this.#state) return this.#texts.offline;
    const state = this.#state;
    if (state?.error && status !== "refused") return this.#error;
    if (status !== "progress" || !steps.length) return "";
    const left = state.progress.remaining;
    return [state.progress.message, this.#count(steps[0]), left > 0 ? this.#texts.left(this.#time(left)) : ""]
      .filter(Boolean).join(" · ");
  }

  // Not every percent: those who hear it have other things to do. A change, each quarter, and why it failed.
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
