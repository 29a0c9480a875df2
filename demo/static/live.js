// What is marked data-live is put in anew from the server: when a task on the page has ended, and where data-every
// says so, each so many seconds. The server writes the page; nothing is put together here.

async function renew() {
  let page;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return; // the next time, then
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
