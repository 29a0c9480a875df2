// Measures a page: its width, words that leave their box in a diagram, and text with too little contrast in light and dark mode.
// Text that is hidden, or for screen readers alone, is not measured.
const ENOUGH = 4.5;
const ENOUGH_IF_LARGE = 3;
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return { r, g, b, a: a / 255 };
}

function over(top, ground) {
  const mix = (a, b) => a * top.a + b * (1 - top.a);
  return { r: mix(top.r, ground.r), g: mix(top.g, ground.g), b: mix(top.b, ground.b), a: 1 };
}

function shapeBehind(element) {
  const shape = element.parentElement.querySelector("path, polygon, ellipse");
  const fill = shape && element.parentElement.matches(".node") ? getComputedStyle(shape).fill : "none";
  return fill === "none" ? "transparent" : fill;
}

function groundOf(element) {
  const layers = element.closest("svg") ? [rgba(shapeBehind(element))] : [];
  for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((ground, layer) => over(layer, ground), { r: 255, g: 255, b: 255, a: 1 });
}

function light({ r, g, b }) {
  const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

function contrast(element, style) {
  const ground = groundOf(element);
  const color = over(rgba(element.closest("svg") ? style.fill : style.color), ground);
  const [dark, bright] = [light(color), light(ground)].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
}

function isLarge(style) {
  const size = parseFloat(style.fontSize);
  return size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
}

function textElements() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && !element.closest("script, style, noscript, title")) found.add(element);
  }
  return [...found].filter((e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }));
}

function pale() {
  const seen = new Set();
  for (const element of textElements()) {
    const style = getComputedStyle(element);
    const ratio = contrast(element, style);
    const words = element.textContent.trim().slice(0, 40);
    if (ratio < (isLarge(style) ? ENOUGH_IF_LARGE : ENOUGH)) {
      seen.add(`${ratio.toFixed(2)} <${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> ${words}`);
    }
  }
  return [...seen].slice(0, 5);
}

function byMode(mode) {
  document.body.dataset.theme = mode;
  return pale();
}

function scrolls(element) {
  for (let at = element.parentElement; at; at = at.parentElement) {
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return true;
  }
  return false;
}

function wide() {
  const beyond = (e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e);
  const first = [...document.querySelectorAll("article *")].find(beyond);
  return first ? first.outerHTML.slice(0, 120) : "";
}

function cut() {
  const out = (text) => {
    const box = text.parentElement.querySelector("path, polygon, ellipse")?.getBoundingClientRect();
    const words = text.getBoundingClientRect();
    return box && (words.left < box.left || words.right > box.right || words.top < box.top || words.bottom > box.bottom);
  };
  return [...document.querySelectorAll(".diagram .node text")].filter(out).map((text) => text.textContent);
}

document.head.insertAdjacentHTML("beforeend", "<style>* { transition: none !important; }</style>");
const width = document.documentElement.scrollWidth;
return { width, wide: wide(), cut: cut(), pale: { light: byMode("light"), dark: byMode("dark") } };
