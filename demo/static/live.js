// Replaces the elements marked data-live with those of the page as the server has it now: when a task on the page has
// ended, and every data-every seconds. The server renders all HTML.

async function renew() {
  let page;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return;
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return; // retried the next time
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    const isInUse = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (fresh && !isInUse && fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }
}

for (const end of ["done", "failed"]) document.addEventListener(`task-progress:${end}`, renew);

const every = Math.min(...[...document.querySelectorAll("[data-every]")].map((part) => Number(part.dataset.every)));
if (Number.isFinite(every)) setInterval(() => document.hidden || renew(), every * 1000);

for (const seconds of document.querySelectorAll("[data-countdown]")) {
  const until = Date.now() + Number(seconds.textContent) * 1000;
  const timer = setInterval(() => {
    const left = Math.ceil((until - Date.now()) / 1000);
    seconds.textContent = Math.max(left, 0);
    if (left <= 0) clearInterval(timer);
  }, 250);
}
